"""Plain functions and layers of other libraries as modules."""
