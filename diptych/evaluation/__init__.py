"""Evaluation of trained models: ELBO, log-likelihood by importance sampling, partial results."""
