"""Configs, noise and loss terms of all models, for both panels, without arrays or frameworks."""
