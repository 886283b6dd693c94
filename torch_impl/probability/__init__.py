"""Densities, likelihoods and approximate posteriors."""
