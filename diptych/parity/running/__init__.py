"""Run a model and record its calls, and match the modules of two models."""
