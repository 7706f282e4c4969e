"""Figures for papers, as SVG and PNG, from the same view of the records as the boards."""
