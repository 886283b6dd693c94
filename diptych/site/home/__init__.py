"""The index of the site, the results and the search."""
