"""Measurements of a parity run for each statement of a page."""
