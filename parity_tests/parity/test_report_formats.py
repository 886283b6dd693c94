"""Reports as JSON, HTML and Markdown."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from helpers.small_reports import agreeing_row, failing_row, fault_in_the_middle, report_of

from diptych import parity
from diptych.parity.reports.report_html import module_tree, position, severity
from diptych.parity.reports.report_markdown import session_summary

SUMMARY = {"name", "dtype", "device", "ok", "tensors", "worst", "masks_equal"}
HOSTILE = "<script>alert(1)</script>|`*_[x](y)"
"""A name that is markup in HTML and in Markdown."""


def strict(text):
    return json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} is not JSON"))


# JSON


def test_json_has_the_summary_the_verdict_the_circumstances_and_all_rows():
    report = fault_in_the_middle(
        key="Key(0)", runs={"left": 2}, options={"bound": 1e-9}, not_compared=("x (an integer)",)
    )
    message = strict(report.to_json())
    assert set(report.summary()) == SUMMARY and set(message) >= SUMMARY
    assert message["verdict"] == report.verdict and message["ok"] is False
    first = message["first_divergence"]
    assert first["name"] == "block2.act(x)" and first["index"] == [4, 1]
    assert [row["name"] for row in message["root_causes"]] == ["block2.act(x)"]
    assert first["statistics"] == {"median": 3.0, "p99": 4e14, "max": 5e15}
    assert message["sources"] == {"block2.act": {"left": "left.py:12", "right": "right.py:34"}}
    assert message["key"] == "Key(0)" and message["runs"] == {"left": 2}
    assert message["options"] == {"bound": 1e-9} and message["not_compared"] == ["x (an integer)"]
    assert len(message["rows"]) == message["tensors"] == len(report.rows)
    assert [row["ok"] for row in message["rows"]] == [row.ok for row in report.rows]


def test_json_names_the_versions_that_the_rounding_depends_on():
    message = strict(report_of(agreeing_row("x")).to_json())
    assert message["first_divergence"] is None and message["root_causes"] == []
    assert {"python", "numpy", "scipy", "torch", "diptych", "blas"} <= set(message["versions"])
    assert message["versions"]["numpy"] == np.__version__
    assert all(isinstance(version, str) for version in message["versions"].values())


def test_json_of_a_report_without_rows_has_no_worst_tensor():
    message = strict(report_of(problem="right is not deterministic").to_json())
    assert message["worst"] == {"tensor": None, "error": None} and message["ok"] is False
    assert message["problem"] == "right is not deterministic"


def test_json_is_strict_whatever_the_options_and_the_values_are():
    row = failing_row("x", error=math.inf, values=(math.nan, -math.inf))
    row = replace(row, bound=np.float32(0.5), index=(np.int64(4), 1))
    options = {"bound": np.float64(1e-9), "kwargs": {"mask": object, 3: {math.inf}}}
    message = strict(report_of(row, options=options).to_json())
    assert message["rows"][0]["values"] == ["nan", "-inf"]
    assert (message["rows"][0]["ok"], message["rows"][0]["bound"]) == (False, 0.5)
    assert message["rows"][0]["index"] == [4, 1]
    assert message["rows"][0]["error"] == message["worst"]["error"] == "inf"
    assert message["options"]["bound"] == 1e-9 and message["options"]["kwargs"]["3"] == ["inf"]


def test_json_of_a_comparison_with_nan_round_trips(vae):
    vae[0].posterior.mu.bias.data[1] = math.nan
    report = parity.compare(*vae, name="faulty")
    message = strict(report.to_json())
    assert message["name"] == "faulty" and message["ok"] is False and message["masks_equal"] is None
    assert message["tensors"] == len(message["rows"]) == len(report.rows)
    assert message["worst"]["error"] == "inf"
    origins = {row["origin"] for row in message["rows"]}
    assert origins == {"", "root cause", "propagated"}


# HTML

VOID = {"meta", "input", "br", "link", "img"}


class Page(HTMLParser):
    """Every element of a page, its text, and whether its tags are balanced."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def with_tag(self, name):
        return [attributes for tag, attributes in self.elements if tag == name]


def test_the_page_is_balanced_and_requests_nothing():
    text = fault_in_the_middle(options={"bound": 1e-9}, not_compared=("x (frozen)",)).to_html()
    page = Page(text)
    assert text.startswith("<!doctype html>") and page.with_tag("html") == [{"lang": "en"}]
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not any("src" in a or "href" in a for _, a in page.elements)
    assert not re.search(r"url\(|@import|https?:", text)
    policy = next(a["content"] for a in page.with_tag("meta") if "http-equiv" in a)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_begins_with_the_verdict_and_has_every_row():
    report = fault_in_the_middle(not_compared=("dropout (only on the right)",))
    page = Page(report.to_html())
    text = " ".join(page.text.split())
    assert f"Diverges. {report.verdict}" in text and text.index(report.verdict) < 200
    for row in report.rows:
        assert f"{row.name} " in text and f"{row.error:.1e}" in text
    assert "left left.py:12, right right.py:34" in text
    assert "median 3, 99 % 4e+14, max 5e+15" in text and "dropout (only on the right)" in text
    assert "Agrees." in Page(report_of(agreeing_row("x")).to_html()).text


def test_a_comparison_without_rows_looks_like_a_failure_everywhere():
    report = report_of(problem="right is not deterministic")
    page = Page(report.to_html())
    assert "Fails. pair: right is not deterministic" in " ".join(page.text.split())
    assert "No tensor was compared." in page.text and not page.with_tag("details")
    assert report.to_markdown().startswith("**Fails.** pair: right is not deterministic")
    assert report_of().result == report_of(agreeing_row("x"), problem="p").result == "fails"
    assert (report_of(agreeing_row("x")).result, fault_in_the_middle().result) == (
        "agrees",
        "diverges",
    )


def test_the_tree_opens_on_the_way_to_the_root_cause_and_says_so_in_words():
    """Colour alone would tell nothing to a screen reader, nor to the colour-blind."""

    def open_modules(page):
        modules = [a for a in page.with_tag("details") if a["class"].startswith("module")]
        return ["open" in attributes for attributes in modules]

    page = Page(fault_in_the_middle(3).to_html())
    # the root, block1, block2 and block2.act
    assert open_modules(page) == [True, False, True, True]
    assert page.text.count("FAIL") == 1 + 4 + 4  # the title, the modules and the rows
    report = fault_in_the_middle(3)
    rows = (row if row.ok else replace(row, origin="propagated") for row in report.rows)
    assert all(open_modules(Page(replace(report, rows=tuple(rows)).to_html())))
    assert "root cause inside" in page.text
    assert all(a.get("aria-hidden") == "true" for a in page.with_tag("span") if a["class"] == "bar")


def test_names_and_options_are_escaped_in_html():
    row = failing_row(HOSTILE, note=HOSTILE, module=HOSTILE.replace(".", ""))
    report = report_of(row, name=HOSTILE, options={"rename": HOSTILE}, not_compared=(HOSTILE,))
    page = Page(report.to_html())
    assert not page.with_tag("script") and page.text.count("<script>alert(1)</script>") > 5


def test_rows_stand_in_the_module_whose_call_computed_them():
    root = module_tree(
        report_of(
            agreeing_row("a.b(x)", module="a.b"),
            agreeing_row("forward", module=""),
            failing_row("a.weight", "parameter gradient", module=None),
            agreeing_row("noise.eps", "noise", module=None),
        )
    )
    assert [row.name for row in root.rows] == ["forward", "noise.eps"]
    a = root.children["a"]
    assert [row.name for row in a.rows] == ["a.weight"] and a.worst.name == "a.weight"
    assert [row.name for row in a.children["b"].rows] == ["a.b(x)"] and not a.children["b"].failures
    assert [node.path for node in (root, a, a.children["b"])] == ["", "a", "a.b"]
    assert len(root.failures) == 1 and root.worst is a.worst


def test_the_error_axis_is_logarithmic_and_has_ends():
    assert position(1e-17) == 0 == position(0.0) and position(math.inf) == 100 == position(1e5)
    assert position(1e-8) == 50.0 and position(math.nan) == 0


def test_a_row_is_coloured_by_its_error():
    row = agreeing_row("x")
    errors = {0.0: 0, 1e-14: 1, 1e-9: 2, 1e-4: 3, 0.5: 4, math.inf: 4}
    assert {error: severity(replace(row, error=error)) for error in errors} == errors


# Markdown


def cells_of(text):
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return [re.split(r"(?<!\\)\|", row)[1:-1] for row in rows]


def test_markdown_has_the_verdict_the_failing_rows_and_totals():
    text = fault_in_the_middle(3, reproducer="diptych compare case.safetensors").to_markdown()
    assert text.startswith("**Diverges.** pair: block2.act(x): input gradient off by 3.4e-01")
    rows = cells_of(text)
    assert len(rows) == 2 + 4 and {len(row) for row in rows} == {7}
    assert rows[2][0] == " `block2.act(x)` " and "FAIL root cause" in rows[2][-1]
    assert "4 of 8 rows fail, 3 of them propagated; float64 on cpu." in text
    assert "```\ndiptych compare case.safetensors\n```" in text
    assert "block1.weight" not in text


def test_markdown_of_an_agreeing_report_has_no_table():
    text = report_of(agreeing_row("x"), not_compared=("y (frozen)",)).to_markdown()
    assert text.startswith("**Agrees.** pair: the only tensor agrees") and "|" not in text
    assert text.endswith("Not compared: y (frozen)\n")


def test_markdown_of_many_failures_is_capped():
    text = fault_in_the_middle(40).to_markdown()
    assert len(cells_of(text)) == 2 + 20 and "21 more failing rows." in text


def test_names_are_escaped_in_markdown():
    rows = failing_row(HOSTILE), failing_row("a|b", note="c|d")
    text = report_of(*rows, name=HOSTILE).to_markdown()
    assert {len(row) for row in cells_of(text)} == {7}
    assert "<script>" not in text.replace("\\<script\\>", "")


def test_the_table_of_a_session_lists_failing_comparisons_first():
    reports = [
        report_of(agreeing_row("x"), name="good"),
        replace(fault_in_the_middle(), name="bad"),
    ]
    rows = [report.summary() | {"verdict": report.verdict} for report in reports]
    text = session_summary(rows)
    assert text.startswith("### Parity: 1 of 2 comparisons diverges\n")
    table = cells_of(text)
    assert [row[1].strip() for row in table[2:]] == ["bad", "good"]
    assert table[2][4].startswith(" block2.act(x): input gradient off by")
    assert session_summary(rows[:1]).startswith("### Parity: 1 comparison agrees\n")
    assert session_summary([]) == "### Parity: nothing was compared\n\n"


def luminance(colour):
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_text_has_the_contrast_that_wcag_asks_for_in_light_and_in_dark():
    schemes = re.findall(r"(--page:.*?)\}", report_of(agreeing_row("x")).to_html(), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})", scheme))
        for name in ("text", "quiet", "s0", "s1", "s2", "s3", "s4"):
            for ground in ("page", "panel"):
                light, dark = sorted(luminance(colours[n]) for n in (name, ground))[::-1]
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)


def test_the_examples_in_the_documentation_have_the_keys_of_today():
    """If not, `python docs/reports/make.py` writes them anew."""
    folder = Path(__file__).parents[2] / "docs" / "reports"
    example = strict((folder / "report.json").read_text())
    today = strict(fault_in_the_middle().to_json())
    assert set(example) == set(today) and set(example["rows"][0]) == set(today["rows"][0])
    for name in ("pytest.txt", "report.html", "report.txt", "junit.xml", "summary.md"):
        assert "block2.act(x): input gradient off by" in (folder / name).read_text(), name
