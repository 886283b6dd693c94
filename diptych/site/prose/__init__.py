"""Docstrings as sentences, lists and equations."""
