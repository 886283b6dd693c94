"""Compare two runs tensor by tensor, and find the origin of a difference."""
