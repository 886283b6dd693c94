"""Make the tables of code in the notebooks again from the sources, without running a cell.

    python -m diptych.notebook

Use it after a change of a panel that changes no number. Numbers and figures stay as they are: after
any other change run the notebook.
"""

from __future__ import annotations

import nbformat

from diptych.site.books.quoting import renewed
from diptych.site.books.reading import FOLDER


def main() -> None:
    """Write the notebooks whose tables have changed, and print their names."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        for cell in notebook.cells:
            for output in cell.get("outputs", ()):
                data = output.get("data", {})
                if "text/html" in data:
                    data["text/html"] = renewed(data["text/html"])
        after = nbformat.writes(notebook)
        if after != before:
            nbformat.write(notebook, path)
            print(path.name)


if __name__ == "__main__":
    main()
