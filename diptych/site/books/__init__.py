"""The notebooks as pages of the site.

reading.py         find and read the notebooks
prose.py           Markdown with formulas as HTML
quoting.py         tables with both panels' code side by side
outputs.py         the outputs of a cell as HTML and image files
notebook_pages.py  the pages, and which notebooks tell of a file
"""

from diptych.site.books.notebook_pages import NotebookPage, for_page, pages, write_pages

__all__ = ["NotebookPage", "for_page", "pages", "write_pages"]
