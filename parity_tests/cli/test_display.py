"""Tables and progress bars of the command line in a terminal of 80 columns."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console

import diptych
from diptych.display import Table, progress_bar

# ABL
from diptych.lab import bound, colour, lossy
from diptych.parity import compare
from diptych.study import memory

PACKAGE = Path(diptych.__file__).parent
NUMBER = "123.456 (1.00)"


def printed(table: Table, width: int = 80) -> str:
    """Print a table as a user reads it; no line may be longer than the terminal."""
    file = io.StringIO()
    Console(file=file, width=width).print(table)
    assert max(map(len, file.getvalue().splitlines())) <= width
    return file.getvalue()


def contents(table: Table) -> Iterable[str]:
    """The plain text of each cell."""
    for column in table.columns:
        for cell in column.cells:
            yield str(cell)


def assert_whole(table: Table, width: int = 80) -> None:
    """Every cell that is a name or a number stands in the output in one piece."""
    text = printed(table, width)
    for cell in contents(table):
        assert cell in text or all(word in text for word in cell.split()), cell
    for heading in (str(column.header) for column in table.columns):
        assert all(word in text for word in heading.split()), heading


def wide(columns: int, *, name: str = "784-400-20, batch 128 float32 log_weight") -> Table:
    table = Table(title="median ms of 40 interleaved rounds (ratio to torch cpu)")
    table.add_column("size, dtype, work")
    for way in range(columns):
        table.add_column(f"torch compiled {way}", justify="right")
    for row in range(3):
        table.add_row(f"{name} {row}", *(f"{row}{way}{NUMBER}" for way in range(columns)))
    return table


def test_a_table_that_fits_is_printed_with_its_lines():
    assert "┃" in printed(wide(1)) and "┃" not in printed(wide(2))


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("width", [200, 80, 50])
def test_each_name_and_number_is_kept_in_one_piece(columns, width):
    table = wide(columns)
    text = printed(table, width)
    assert all(cell in text for cell in contents(table))


def test_the_columns_stay_aligned_under_their_headings():
    """Without lines, each cell of a right-justified column ends where its heading ends."""
    lines = printed(wide(4, name="n")).splitlines()
    heading = next(line for line in lines if "work" in line)
    rows = [line for line in lines if NUMBER in line]
    ends = [m.end() for m in re.finditer(r"\d(?=  |$)", heading)]
    assert len(ends) == 4
    for line in rows:
        assert [m.end() for m in re.finditer(re.escape(NUMBER), line)] == ends


def test_brackets_and_colons_in_a_cell_are_no_markup():
    table = Table("pair", "worst")
    table.add_row("rnn[per_step,loop]", "[red]copy:100:[/]")
    for width in (80, 24):
        text = printed(table, width)
        assert "rnn[per_step,loop]" in text and "[red]copy:100:[/]" in text


def test_prose_in_the_last_column_breaks_at_spaces():
    table = Table("name", "description", box=None)
    table.add_row("a" * 40, "twenty words of prose " * 5)
    text = printed(table)
    assert "twenty words of prose" in text and text.count("prose") == 5
    assert text.splitlines()[1].startswith("a" * 40 + "  twenty")


def test_no_other_module_builds_tables_or_progress_bars_of_rich():
    """A plain Rich table cuts names at 80 columns, and a plain progress bar its numbers."""
    for path in PACKAGE.rglob("*.py"):
        source = path.read_text()
        if path.name != "display.py":
            assert not re.search(r"rich\.table|\bTable\.grid\(|\bProgress\(", source), path


@pytest.mark.parametrize("width", [80, 60, 40])
def test_the_table_of_a_report_keeps_every_tensor_and_every_error(width):
    report = compare("lstm[variational_recurrent,loop]")
    text = printed(report.table(), width)
    for row in report.rows:
        assert row.name in text and f"{row.error:.1e}" in text


@pytest.mark.parametrize("width", [80, 50])
def test_the_table_of_the_memory_experiment_keeps_every_number(width):
    schemes = {
        scheme: {
            "accuracy": [0.123, 0.456, None],
            "delays": {"100": [0.321, 0.654, None], "500": [0.987, 0.789, None]},
            "mean": 0.2895,
            "spread": 0.2355,
            "seconds": [11.0, 13.0, 12.0],
        }
        for scheme in ("none", "variational_recurrent")
    }
    settings = {"config": {"model": "lstm"}, "data": "copy:100:10", "rate": 0.25}
    settings |= {"delays": [100, 500]}
    assert_whole(memory.table({"settings": settings, "chance": 0.125, "schemes": schemes}), width)


@pytest.mark.parametrize("width", [80, 60])
def test_the_table_of_the_bound_keeps_every_number(width):
    entry = {"bound": -123.4567, "gap": 1.23456, "gap_error": 0.00123}
    models = [
        {"seed": seed, "bounds": [entry] * len(bound.KS), "log_p": -122.1, "kl": 1.23}
        for seed in range(3)
    ]
    table = bound._table({"models": models, "images": 100})
    assert_whole(table, width)
    assert printed(table, width).count("1.23456 ± 0.00123") == 3 * len(bound.KS)


@pytest.mark.parametrize("width", [80, 60])
def test_the_table_of_the_windows_keeps_every_number(width):
    seeds = [101.234, 99.876]
    entry = {"test_kl": seeds, "test_recon": seeds, "nll": seeds, "pixels": 12}
    entry |= {"changed": [0.123, 0.456], "z": [0.777, 0.888], "x'": [0.555, 0.666]}
    results = {
        "windows": {"the whole raster above": entry, "none": entry},
        "identity": {"x": 0.95, "chance": 0.1},
        "images": 64,
        "samples": 128,
        "binarized": True,
    }
    assert_whole(lossy._table(results), width)


@pytest.mark.parametrize("width", [80, 60])
def test_the_table_of_the_contexts_keeps_every_number(width):
    seeds = [10.234, 99.876]
    entry = {"test_kl": seeds, "nll": [1010.3, 1020.4], "pixels": 12}
    entry |= {
        source: dict.fromkeys(("colour", "digit", "texture"), seeds) for source in ("z", "x'")
    }
    results = {
        "models": {"5 × 3, grey": entry, "none": entry},
        "x": {"colour": 1.0, "digit": 0.95, "texture": 100.0},
        "entropy": 728.5,
        "values": 768,
        "images": 300,
    }
    assert_whole(colour._table(results), width)


@pytest.mark.parametrize("width", [200, 80, 60, 40])
def test_a_progress_bar_keeps_step_total_and_time_left(width):
    progress = progress_bar(Console(file=io.StringIO(), width=width, force_terminal=True))
    message = "epoch 12/100  total 123.45  recon 100.12  kl 23.33  12,345 examples/s"
    task = progress.add_task("torch", total=45600, completed=12345, message=message)
    progress.tasks[task].start_time = 0.0
    file = io.StringIO()
    console = Console(file=file, width=width)
    console.print(progress.make_tasks_table(progress.tasks))
    (line,) = file.getvalue().splitlines()
    assert "torch" in line and "12345/45600" in line and re.search(r"-:--:--|\d:\d\d:\d\d", line)
    assert len(line) <= width
    if width == 200:
        assert message in line


def test_a_progress_bar_needs_no_message_and_no_console():
    with progress_bar(None) as progress:
        progress.add_task("tokens", total=3)
    file = io.StringIO()
    with progress_bar(Console(file=file, width=80)) as progress:
        progress.update(progress.add_task("tokens", total=3), completed=3)
    assert "tokens" in file.getvalue() and "3/3" in file.getvalue()
