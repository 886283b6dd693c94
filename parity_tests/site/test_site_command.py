"""`diptych site`: what it prints, its exit status, and its one line of error."""

from pathlib import Path

import pytest

from diptych.site import build
from diptych.site.build import Site


@pytest.fixture
def built(monkeypatch):
    """A function that makes `diptych site` return a site with these problems; a list of calls."""
    calls = []

    def make(*problems):
        def build_site(out, console, *, check):
            calls.append((out, check))
            return Site(Path(out) / "index.html", problems)

        monkeypatch.setattr(build, "build_site", build_site)
        return calls

    return make


def test_the_path_of_the_index_is_printed_last(run, built, tmp_path):
    calls = built()
    status, out, err = run("site", "--out", tmp_path / "pages of mine", "--no-check")
    assert status == 0 and not err
    assert out.splitlines()[-1] == str(tmp_path / "pages of mine" / "index.html")
    assert calls == [(tmp_path / "pages of mine", False)]


def test_the_pairs_are_checked_unless_the_user_says_otherwise(run, built, monkeypatch, tmp_path):
    calls = built()
    monkeypatch.chdir(tmp_path)
    run("site")
    assert calls == [(Path("out"), True)]


def test_a_missing_twin_is_named_and_the_status_is_1(run, built, tmp_path):
    built("nn/optim.py: _shapes has no twin", "lstm diverges")
    status, out, err = run("site", "--out", tmp_path)
    assert status == 1
    assert err.splitlines() == ["nn/optim.py: _shapes has no twin", "lstm diverges"]
    assert out.splitlines()[-1] == str(tmp_path / "index.html")


def test_the_help_says_what_is_built(run):
    status, out, _ = run("site", "--help")
    assert status == 0 and "side by side" in out and "--no-check" in out


def test_a_folder_that_is_a_file_is_one_line_of_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = run("site", "--out", tmp_path / "file")
    assert status == 1 and not out and err.count("\n") == 1
    assert err.startswith(f"error: --out: got '{tmp_path / 'file'}', cannot write there")
