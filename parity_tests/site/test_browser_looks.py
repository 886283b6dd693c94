"""Contrast and roles by axe in both themes; print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.site_in_browser import MEASURED, Reader

KINDS = (  # one page of each kind
    "index.html",
    "pages/nn.init.html",
    "pages/recurrent.fused.html",
    "pages/results.html",
    "pages/break.html",
    "pages/notebook.07_numpy_torch_gpu.html",
)
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]}}


@pytest.fixture(params=["light", "dark"])
def themed(request: pytest.FixtureRequest, browser: Any, built_site: Path) -> Any:
    """A reader whose system is light or dark."""
    reader = Reader(browser, built_site, color_scheme=request.param)
    yield reader
    reader.close()


def violations(tab: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    response = axe.run(tab, {"exclude": [["math"]]}, RULES).response  # thousands of signs
    return [
        f"{v['id']}: {node['html'][:160]}: {node['failureSummary']}"
        for v in response["violations"]
        for node in v["nodes"][:5]
    ]


@pytest.mark.parametrize("page", KINDS)
def test_contrast_and_roles_meet_wcag_aa(themed: Reader, page: str) -> None:
    assert not (problems := violations(themed.open(page))), "\n".join(problems)


def test_lit_names_values_and_tooltips_meet_wcag_aa(themed: Reader) -> None:
    tab = themed.open(f"pages/{MEASURED}.html")
    tab.click(".follow")
    tab.click('[id="rnn_cell"] .L b[data-n="a"] >> nth=0')
    tab.focus(".chip:not(.alone) >> nth=0")
    tab.hover(".chip:not(.alone) >> nth=0")
    assert tab.locator("b.on").count() and tab.locator("b.flow").count()
    assert tab.is_visible("#tip")
    assert not (problems := violations(tab)), "\n".join(problems)


def test_a_printed_page_is_its_code_on_white(themed: Reader) -> None:
    tab = themed.open(f"pages/{MEASURED}.html")
    tab.emulate_media(media="print")
    assert not tab.is_visible(".side") and not tab.is_visible(".tools")
    assert tab.is_visible('[id="RNN.features"] .L .ln >> nth=0')
    assert tab.is_visible('[id="RNN.features"] .R .ln >> nth=0')
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
