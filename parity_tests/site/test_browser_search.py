"""The search in a browser: by keyboard and mouse, from the index and from a page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from helpers.site_in_browser import MEASURED, NARROW, Reader

OPTIONS = '#find-results [role="option"]'


def shown(tab: Any) -> list[str]:
    """The names that the list shows, from top to bottom."""
    return tab.locator(f"{OPTIONS} b").all_text_contents()


@pytest.mark.parametrize("start", ["index.html", f"pages/{MEASURED}.html"])
def test_a_name_is_reached_from_any_page_by_keys_alone(reader: Reader, start: str) -> None:
    tab = reader.open(start)
    tab.keyboard.press("/")
    tab.keyboard.type("draw_masks")
    tab.wait_for_selector(OPTIONS)
    assert "draw_masks" in shown(tab)[0]
    tab.keyboard.press("Enter")
    tab.wait_for_url(re.compile(r"pages/recurrent\.masks\.html#draw_masks$"))
    assert tab.locator('[id="draw_masks"]').count() == 1


def test_arrows_move_through_the_results_and_go_around(reader: Reader) -> None:
    tab = reader.open("index.html")
    tab.keyboard.press("/")
    tab.keyboard.type("rnn")
    tab.wait_for_selector(OPTIONS)
    assert shown(tab)[0] == "rnn" and len(shown(tab)) > 2
    for key, position in (("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", -1)):
        tab.keyboard.press(key)
        chosen = tab.locator(f'{OPTIONS}[aria-selected="true"] b').all_text_contents()
        assert chosen == [shown(tab)[position]]
        active = tab.get_attribute("#find", "aria-activedescendant")
        assert tab.locator(f"#{active} b").text_content() == shown(tab)[position]


def test_escape_closes_the_list_and_then_leaves_the_box(reader: Reader) -> None:
    tab = reader.open("index.html")
    tab.keyboard.press("/")
    tab.keyboard.type("lstm")
    tab.wait_for_selector(OPTIONS)
    tab.keyboard.press("Escape")
    assert tab.get_attribute("#find", "aria-expanded") == "false" and not tab.is_visible(OPTIONS)
    tab.keyboard.press("Escape")
    assert tab.input_value("#find") == ""
    assert tab.evaluate("document.activeElement === document.body")


def test_words_of_a_source_are_found(reader: Reader) -> None:
    tab = reader.open("index.html")
    tab.fill("#find", "zaremba peepholes")
    tab.wait_for_selector(OPTIONS)
    assert any("Zaremba" in name for name in shown(tab))


def test_without_a_result_similar_names_are_suggested(reader: Reader) -> None:
    tab = reader.open("index.html")
    tab.fill("#find", "lstm_sell")
    status = tab.locator(".find-status", has_text="Nothing found.")
    status.wait_for(state="attached")
    assert "lstm_cell" in shown(tab) and len(shown(tab)) == 3
    note = "getComputedStyle(document.getElementById('find-results'), '::before').content"
    assert "Nothing found." in tab.evaluate(note)
    tab.keyboard.press("Enter")
    assert tab.url.endswith("index.html")  # none is chosen before an arrow is pressed
    tab.fill("#find", "lstm_cell")
    tab.locator(".find-status", has_text="names").wait_for(state="attached")
    assert tab.evaluate("document.getElementById('find-results').dataset.note") == ""


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("BPTT", "backpropagation through time"),
        ("backpropagation", "backpropagation through time"),
        ("derivation", "Derivation of"),
        ("causal", "masked"),
        ("reparameterisation", "reparameterize"),
        ("reparametrize", "reparameterize"),
        ("logdet", "log-determinant"),
        ("forget gate", "lstm"),
        ("evidence lower bound", "elbo"),
        ("spectral radius", ""),
    ],
)
def test_a_word_of_the_field_leads_to_its_names(reader: Reader, query: str, expected: str) -> None:
    tab = reader.open("index.html")
    tab.fill("#find", query)
    tab.wait_for_selector(OPTIONS)
    text = " ".join(tab.locator(OPTIONS).all_text_contents()).lower()
    status = tab.text_content(".find-status")
    assert ("Nothing found." in status) == (not expected), status
    assert expected.lower() in text, text


def test_a_click_opens_a_result_on_a_phone_too(reader: Reader) -> None:
    tab = reader.open("index.html")
    tab.set_viewport_size(NARROW)
    tab.fill("#find", "rnn_cell")
    tab.wait_for_selector(OPTIONS)
    box = tab.locator("#find-results").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= NARROW["width"]
    tab.click(f"{OPTIONS} >> nth=0")
    tab.wait_for_url(re.compile(r"pages/rnn\.html#rnn_cell$"))
