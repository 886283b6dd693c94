"""Evaluation of trained models: ELBO, importance-weighted bounds, partial results."""
