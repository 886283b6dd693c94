"""The pages and tables of a benchmark: of `diptych bench`, of the site, and of docs/speed.md."""

import re

import pytest
from helpers.bench_record import OWN, record

from diptych.bench import figures
from diptych.runs.tables.speed import remarks, speed, step_ratios
from diptych.site import build as site_build
from diptych.site import speed as pages
from diptych.site.home import home


def test_the_page_needs_no_other_file(tmp_path):
    page = pages.write_page(record(), tmp_path)
    text = page.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', text)
    assert text.count("data:image/svg+xml;base64,") == 2
    for part in ("diptych bench mlp_vae --quick", "torch overtakes NumPy at batch 5.5", "2.13"):
        assert part in text, part
    assert "numpy was not timed at batch 4096: a step would take 3.1 s" in text
    assert (tmp_path / "figures" / "bars.png").stat().st_size > 1000


def test_the_page_of_a_gpu_names_it_and_has_its_memory(tmp_path):
    text = pages.write_page(record("cuda"), tmp_path).read_text()
    assert "NVIDIA H200" in text and "<th>device</th>" in text and "3 MiB" in text
    assert "<th>device</th>" not in pages.write_page(record(), tmp_path).read_text()
    assert pages.title(record("cuda")) == "NumPy against NVIDIA H200"


def test_a_figure_marks_the_batch_at_which_torch_overtakes_numpy():
    """1 + b / 2 and 3 + b / 8 meet at 16 / 3; between logarithms the lines meet near it."""
    speed_rows = record()["metrics"]["speed"]
    (axis,) = figures.sweep_figure("mlp_vae", speed_rows).axes
    assert axis.get_xscale() == axis.get_yscale() == "log"
    labels = [text.get_text() for text in axis.texts]
    assert len(labels) == 1 and 4 < float(labels[0]) < 8
    assert figures.sweep_figure("rnn", speed_rows) is None
    assert figures.bars_figure([]) is None


def test_a_figure_is_the_same_text_for_the_same_numbers():
    speed_rows = record()["metrics"]["speed"]
    first, second = (figures.svg(figures.bars_figure(speed_rows)) for _ in range(2))
    assert first == second and first.startswith("<?xml")


def test_the_site_has_a_page_of_each_recorded_benchmark(tmp_path, monkeypatch):
    records = [record(), record("cuda", "speed_h200")]
    monkeypatch.setattr(pages.repository, "records", lambda: records)
    writer = site_build._Writer(tmp_path, [], None, [])
    writer.write_speed()
    for name in ("speed", "speed_h200"):
        text = (tmp_path / "pages" / f"{name}.html").read_text()
        assert "At a glance" in text and "../assets/site.css" in text
        assert f"pages/{name}.html" in text, "the navigation links it"
    assert any("pages/speed.html" in entry for entry in writer._entries), "the search finds it"


def test_an_installed_package_has_no_recorded_benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(pages.repository, "records", list)
    writer = site_build._Writer(tmp_path, [], None, [])
    writer.write_speed()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exists", [True, False])
def test_the_index_links_the_benchmark_of_this_machine(tmp_path, exists):
    if exists:
        (tmp_path / "bench").mkdir()
        (tmp_path / "bench" / "index.html").write_text("a page")
    assert bool(home._own_benchmark(tmp_path)) == exists


def test_the_tables_have_a_step_its_sweep_and_the_remarks():
    text = speed(record())
    assert "| step | float32 | 9 ± 0.1 (1.80), 25 % | 5 ± 0.1 (1.00), 25 % |" in text
    assert "| 256 | 129 | 35 |" in text
    assert "- float32: torch overtakes NumPy at batch 5.5." in text
    assert remarks(record()["metrics"], "rnn") == []
    assert step_ratios([record(), record("cuda", "speed_h200")]) == {
        "mlp_vae": {"float32": f"{(1 + 0.5 * OWN) / (3 + 0.125 * OWN):.2f}"}
    }
