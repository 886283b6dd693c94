"""Consoles that print text as it is; tables and progress bars that keep every name and number."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import rich.console
import rich.table
from rich.console import ConsoleOptions, RenderResult
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Column
from rich.text import Text

LEAST_PROSE = 24
"""Characters that the last column must keep where its cells are broken at spaces."""
GAP = 2
"""Spaces between two columns of a table without lines, and the indent under a folded name."""

Rows = list[list[Text]]


class Console(rich.console.Console):
    """A Rich console that prints a string as it is: "[red]" is no markup, ":100:" is no emoji.

    If it cannot write (the reader of a pipe has gone, the disk is full), it falls silent and the
    work goes on; `failure` is the error then, except that of a pipe.
    """

    failure: OSError | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def status(self, status: Any, **options: Any) -> Status:
        return super().status(_text(status), **options)

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except OSError as error:
            self.failure = error
            self._fall_silent()

    def on_broken_pipe(self) -> None:
        self._fall_silent()

    def _fall_silent(self) -> None:
        self.quiet = True
        target = os.open(os.devnull, os.O_WRONLY)
        os.dup2(target, self.file.fileno())
        os.close(target)


class Table(rich.table.Table):
    """A Rich table that takes the first of these forms that fits the width of the terminal:

    1. with its lines and title, as Rich prints it;
    2. without lines; headings may break at spaces, and so may the cells of the last column if it is
       text;
    3. with the widest text columns folded: the first column onto a line above the row, any other
       onto a line below it;
    4. one record for each row: the name, then pairs of heading and value.

    A string is printed as it is, without markup; a cell with a style is a rich.text.Text. A table
    with `box=None` starts at form 2. A line longer than the terminal (a title, a long path) breaks
    at spaces; only a word that is itself longer than the terminal breaks inside.
    """

    def __init__(self, *headings: Any, title: Any = None, caption: Any = None, **options: Any):
        super().__init__(
            title=title and _text(title), caption=caption and _text(caption), **options
        )
        for heading in headings:
            self.add_column(heading)

    def add_column(self, header: Any = "", footer: Any = "", **options: Any) -> None:
        super().add_column(_text(header), footer, **options)

    def add_row(self, *cells: Any, **options: Any) -> None:
        super().add_row(*(_text("" if cell is None else cell) for cell in cells), **options)

    def __rich_console__(
        self, console: rich.console.Console, options: ConsoleOptions
    ) -> RenderResult:
        unlimited = options.update(width=10_000, max_width=10_000)
        natural = super().__rich_measure__(console, unlimited).maximum
        titles = max(_longest_word(_text(text or "")) for text in (self.title, self.caption))
        if self.box is not None and titles <= natural <= options.max_width:
            yield from super().__rich_console__(console, options)
            return
        yield from _wrapped(console, self.title, options.max_width, "bold")
        yield from self._without_lines(console, options.max_width)
        yield from _wrapped(console, self.caption, options.max_width, "dim")

    def _without_lines(self, console: rich.console.Console, width: int) -> Iterator[Text]:
        cells = [[_text(cell) for cell in column.cells] for column in self.columns]
        rows: Rows = [list(row) for row in zip(*cells, strict=True)]
        headings = [_text(column.header) for column in self.columns]
        natural = [max(map(_width, [headings[i], *cells[i]])) for i in range(len(headings))]
        least = [
            max([_longest_word(headings[i]), *map(_width, cells[i])]) for i in range(len(headings))
        ]
        foldable = [i for i, column in enumerate(self.columns) if column.justify == "left"]
        last = len(headings) - 1
        if last in foldable:
            words = max([LEAST_PROSE, *map(_longest_word, [headings[-1], *cells[-1]])])
            prose = [*least[:-1], min(words, least[-1])]
        foldable.sort(key=lambda i: -least[i])
        for count in range(len(foldable) + 1):
            folded = set(foldable[:count])
            shown = [i for i in range(len(headings)) if i not in folded]
            indent = GAP if 0 in folded else 0
            space = width - indent - GAP * (len(shown) - 1)
            for widths in (least, prose) if count == 0 and last in foldable else (least,):
                if shown and sum(widths[i] for i in shown) <= space:
                    chosen = _widths(shown, widths, natural, space)
                    yield from self._columns(console, headings, rows, chosen, width)
                    return
        yield from _wrapped(console, headings[0] if headings else None, width, "bold")
        for row in rows:
            yield from _record(console, headings, row, width)

    def _columns(
        self,
        console: rich.console.Console,
        headings: Sequence[Text],
        rows: Rows,
        widths: dict[int, int],
        width: int,
    ) -> Iterator[Text]:
        """The rows as aligned columns; a column that `widths` lacks is folded."""
        indent = 0 if 0 in widths else GAP
        if any(heading.plain for heading in headings):
            if 0 not in widths:
                yield from _wrapped(console, headings[0], width, "bold")
            broken = [headings[i].wrap(console, w) for i, w in widths.items()]
            depth = max(map(len, broken))
            padded = [[Text()] * (depth - len(lines)) + list(lines) for lines in broken]
            for line in zip(*padded, strict=True):
                yield self._line(line, widths, indent, "bold")
        for row in rows:
            if 0 not in widths:
                yield from _wrapped(console, row[0], width)
            cells = (row[i].wrap(console, w) for i, w in widths.items())
            for line in zip_longest(*cells, fillvalue=Text()):
                yield self._line(line, widths, indent)
            for i in range(1, len(headings)):
                if i not in widths and row[i].plain:
                    pair = Text.assemble(*_named(headings[i], ": "), row[i])
                    yield from _wrapped(console, pair, width, indent=indent + GAP)

    def _line(
        self, cells: Sequence[Text], widths: dict[int, int], indent: int, style: str = ""
    ) -> Text:
        line = Text(" " * indent, style, no_wrap=True)
        for count, (cell, (i, width)) in enumerate(zip(cells, widths.items(), strict=True)):
            padding = " " * (width - cell.cell_len)
            line.append(" " * GAP * (count > 0))
            if self.columns[i].justify == "right":
                line.append(padding).append_text(cell)
            else:
                line.append_text(cell).append(padding)
        line.rstrip()
        return line


def progress_bar(console: rich.console.Console | None) -> Progress:
    """A progress bar; None as the console shows nothing.

    Each task has a description, and may have a field `message` that says what is known so far. In
    a narrow terminal the bar and the message give way; the description, the steps done, their
    total and the time that is left are always whole.
    """

    def fixed() -> Column:
        return Column(no_wrap=True)

    return Progress(
        _Field("description", fixed()),
        BarColumn(bar_width=None, table_column=Column(ratio=1, no_wrap=True)),
        MofNCompleteColumn(table_column=fixed()),
        _Field("message", Column(ratio=3, no_wrap=True, overflow="ellipsis")),
        TimeRemainingColumn(table_column=fixed()),
        console=console or Console(quiet=True),
        disable=console is None or console.quiet,
        expand=True,
    )


class _Field(ProgressColumn):
    """The description of a task, or one of its fields: plain text, empty where it is not set."""

    def __init__(self, name: str, column: Column) -> None:
        super().__init__(column)
        self.name = name

    def render(self, task: Task) -> Text:
        return Text(str(getattr(task, self.name, task.fields.get(self.name, ""))))


def _text(cell: Any) -> Text:
    """A cell as text: a string as it is, without markup."""
    return cell.copy() if isinstance(cell, Text) else Text(str(cell))


def _width(text: Text) -> int:
    return max((line.cell_len for line in text.split()), default=0)


def _longest_word(text: Text) -> int:
    return max((Text(word).cell_len for word in text.plain.split()), default=0)


def _widths(shown: list[int], least: list[int], natural: list[int], space: int) -> dict[int, int]:
    """Widths of the shown columns: at least `least`, and up to `natural` if there is space."""
    left = space - sum(least[i] for i in shown)
    widths = {}
    for i in shown:
        more = min(left, max(0, natural[i] - least[i]))
        widths[i] = least[i] + more
        left -= more
    return widths


def _named(heading: Text, after: str) -> list[Text | tuple[str, str]]:
    return [(f"{heading.plain}{after}", "dim")] if heading.plain else []


def _record(
    console: rich.console.Console, headings: Sequence[Text], row: Sequence[Text], width: int
) -> Iterator[Text]:
    """One row as its name and pairs of heading and value, as many pairs a line as fit."""
    yield from _wrapped(console, row[0], width)
    line = Text()
    for heading, cell in zip(headings[1:], row[1:], strict=True):
        if not cell.plain:
            continue
        pair = Text.assemble(*_named(heading, " "), cell)
        if line and GAP + line.cell_len + GAP + pair.cell_len > width:
            yield from _wrapped(console, line, width, indent=GAP)
            line = Text()
        line = Text.assemble(line, " " * GAP, pair) if line else pair
    yield from _wrapped(console, line, width, indent=GAP)


def _wrapped(
    console: rich.console.Console, text: Any, width: int, style: str = "", indent: int = 0
) -> Iterator[Text]:
    """The lines of a text, broken at spaces; nothing for None or an empty text."""
    text = _text(text or "")
    if text.plain:
        text.stylize_before(style)
        for line in text.wrap(console, width - indent):
            yield Text.assemble(" " * indent, line, no_wrap=True)
