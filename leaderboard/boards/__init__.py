"""Boards: views of many records, and the ways to draw them."""
