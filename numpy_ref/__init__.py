"""Left panel: NumPy, every gradient written by hand. Never imports torch."""
