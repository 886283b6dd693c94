"""Training of one panel: presets, the trainer, and the run as a whole."""
