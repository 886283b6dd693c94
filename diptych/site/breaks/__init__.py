"""Planted faults, and what the report says of each."""
