"""The board as one HTML file that needs no network: tables to sort and filter, plots, and every cell's record."""
