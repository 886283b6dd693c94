"""The static index of the search: every name, with an address that exists."""

import json
from dataclasses import replace

import pytest
from helpers.small_sites import Anchors, pages
from rich.console import Console

from diptych.site import build
from diptych.site.home import search
from diptych.site.sources.read import read_page
from diptych.site.sources.twin_files import twin_files

STEMS = ("rnn", "recurrent/masks", "nn/init")


def read(text):
    head, _, tail = text.partition("[")
    assert head == "window.SEARCH = "
    return [tuple(entry) for entry in json.loads("[" + tail.rstrip().removesuffix(";"))]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of three files, and the entries of its search."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        files = [file for file in twin_files() if file.stem in STEMS]
        patch.setattr(build, "twin_files", lambda: files)
        build.build_site(folder, Console(quiet=True), check=False)
    return folder, read((folder / "assets" / "search.js").read_text())


def test_every_definition_of_both_panels_is_listed(site):
    _, entries = site
    listed = {(name, kind) for name, kind, *_ in entries}
    for page in pages(STEMS):
        assert (page.file.stem, "page") in listed
        for definition in page.walk():
            if definition.kind != "module":
                assert (definition.name, definition.kind) in listed
    assert ("RNN.draw_noise", "method") in listed
    assert {"notebook", "section", "derivation", "picture"} <= {kind for _, kind in listed}


def test_every_address_leads_to_a_page_and_to_an_anchor_on_it(site):
    folder, entries = site
    ids = {}
    for name, kind, address, *_ in entries:
        path, _, anchor = address.partition("#")
        if kind in ("notebook", "section") and not (folder / path).exists():
            continue  # pages of the notebooks have tests of their own
        if path not in ids:
            ids[path] = set(Anchors((folder / path).read_text()).ids)
        assert not anchor or anchor in ids[path], (name, address)


def test_a_source_leads_to_the_definition_that_names_it(site):
    _, entries = site
    sources = [entry for entry in entries if entry[1] == "source"]
    assert sources and all("20" in name or "19" in name for name, *_ in sources)
    assert all(address.endswith(f"#{summary}") for _, _, address, summary, *_ in sources)


def test_no_entry_is_listed_twice_and_quotes_are_kept():
    entry = ('a "b" \\ é', "page", "pages/a.html", "")
    assert read(search.script([entry, entry])) == [entry]


def test_the_summary_is_the_first_line_of_either_docstring():
    (page,) = pages(("nn/init",))
    (definition, *_) = (d for d in page.walk() if d.kind == "function")
    lone = replace(page, definitions=(replace(definition, left=None),))
    entries = list(search.entries([lone]))
    assert entries[1][0] == definition.name and entries[1][3]


def test_a_derivation_is_found_by_its_title_and_a_docstring_by_its_other_words(site):
    _, entries = site
    titles = {name: address for name, kind, address, *_ in entries if kind == "derivation"}
    assert any("backpropagation through time" in title for title in titles)
    (words,) = [entry[4] for entry in entries if entry[:2] == ("rnn", "page")]
    assert "shapes" in words.split()


def test_the_file_of_the_search_stays_small(tmp_path):
    every = [read_page(file) for file in twin_files()]
    assert len(search.script(search.entries(every)).encode()) < 200_000
