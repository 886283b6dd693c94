"""The report of a comparison, as text, JSON, Markdown and HTML."""
