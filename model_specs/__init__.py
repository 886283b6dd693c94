"""Ground floor: what a model is, whatever computes it. No arrays, no framework."""
