"""The options of a comparison: names, layouts, exceptions and bounds."""
