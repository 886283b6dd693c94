"""What a parity run measures for each statement of a page."""
