"""Densities, and the likelihoods of a decoder."""
