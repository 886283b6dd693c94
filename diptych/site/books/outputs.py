"""Turn the outputs of a cell into HTML and image files."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup
from PIL import Image

from diptych.site.books.prose import Prose
from diptych.site.books.quoting import renewed
from diptych.site.images import smaller
from diptych.site.sources.code import highlighted_lines

ANSI = re.compile(r"\x1b\[[0-9;]*m")
PRE = re.compile(r"<pre>(.*?)</pre>", re.DOTALL)
CODE = re.compile(r"<code>(.*?)</code>", re.DOTALL)
COLOUR = re.compile(r' class="verdict (good|bad)" style="[^"]*"')
STYLE = re.compile(r' (?:style="text-align: left; vertical-align: top"|data-quote="[^"]*")')


class Outputs:
    """Turns the outputs of a notebook's cells into HTML, and collects its pictures."""

    def __init__(self, name: str, prose: Prose) -> None:
        self._name, self._prose = name, prose
        self.problems: list[str] = []
        """Functions and lines that the notebook shows and that are gone, in words."""
        self.images: dict[str, bytes] = {}
        """File names of the pictures, for assets/notebooks, and their bytes."""

    def html(self, cell: Any) -> Markup:
        """All outputs of a cell."""
        return Markup().join(self._blocks(cell))

    def _blocks(self, cell: Any) -> Iterator[Markup]:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if output.output_type == "stream":
                yield _text(output.text)
            elif "text/html" in data:
                yield self._markup(data["text/html"])
            elif "image/svg+xml" in data:
                yield Markup('<div class="figure">{}</div>').format(Markup(data["image/svg+xml"]))
            elif "image/png" in data:
                yield self._picture(data["image/png"], output.metadata.get("image/png", {}))
            elif "text/markdown" in data:
                shown = self._prose.html(data["text/markdown"])
                yield Markup('<div class="shown">{}</div>').format(shown)
            elif "text/plain" in data:
                yield _text(data["text/plain"])

    def _markup(self, text: str) -> Markup:
        """HTML that a helper of the notebooks made, its code renewed, highlighted and linked."""
        try:
            text = renewed(text)
        except LookupError as error:
            self.problems.append(f"notebooks/{self._name}.ipynb: {error}")
        text = STYLE.sub("", text)
        text = COLOUR.sub(' class="verdict \\1"', text)
        text = PRE.sub(lambda m: f"<pre>{_lines(html.unescape(m[1]))}</pre>", text)
        text = CODE.sub(lambda m: str(self._prose.code(html.unescape(m[1]))), text)
        return Markup('<div class="shown">{}</div>').format(Markup(text))

    def _picture(self, data: str, facts: dict[str, Any]) -> Markup:
        file = f"{self._name}-{len(self.images) + 1}.png"
        content = base64.b64decode(data)
        self.images[file] = smaller(content)
        with Image.open(io.BytesIO(content)) as picture:
            width, height = picture.size
        shown = facts.get("width", width)
        return Markup(
            '<img src="../assets/notebooks/{}" alt="{}" width="{}" height="{}" loading="lazy">'
        ).format(file, facts.get("alt", ""), shown, round(height * shown / width))


def _lines(code: str) -> Markup:
    """Highlighted lines whose continuations are indented where they wrap."""
    return Markup().join(
        Markup('<span class="line" style="--indent: {}ch">{}</span>').format(
            len(text) - len(text.lstrip()) + 4, html
        )
        for text, html in zip(code.split("\n"), highlighted_lines(code), strict=True)
    )


def _text(text: str) -> Markup:
    return Markup('<pre class="printed">{}</pre>').format(ANSI.sub("", text).rstrip("\n"))
