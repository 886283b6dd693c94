"""The error of a tensor, its bound, and the row that holds both."""
