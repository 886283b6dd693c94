"""A run: its settings, its folder, its environment and its recorded results."""
