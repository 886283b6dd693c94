"""The site, built once for all tests, and a browser that opens its pages."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from rich.console import Console

from diptych.site import build
from diptych.site.breaks.fault import read_faults

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
MEASURED, PLANTED = "rnn", "softmax-gradient"
"""the pair whose measurements, and the fault that the built site has; all would take minutes"""


def build_once(folder: Path) -> Path:
    """The site in `folder`, built by the first process that asks for it; others wait."""
    out = folder / "site_of_browser_tests"
    with FileLock(f"{out}.lock"):
        if not (out / "index.html").exists():
            _build(out)
    return out


def _build(out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        measure = partial(build.measure_pages, names=[MEASURED], workers=1)
        patch.setattr(build, "measure_pages", measure)
        faults = [fault for fault in read_faults() if fault.name == PLANTED]
        record = partial(build.record_faults, workers=1, faults=faults)
        patch.setattr(build, "record_faults", record)
        build.build_site(out, Console(file=io.StringIO()))


@contextmanager
def launched() -> Iterator[Any]:
    """A headless Chromium of the system; skips the test where there is none."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


class Reader:
    """One who opens pages of the site and notes every error and every request of theirs."""

    def __init__(self, browser: Any, site: Path, **options: Any) -> None:
        self.site = site
        self.complaints: list[str] = []
        self._context = browser.new_context(**{"viewport": WIDE, **options})
        self.tab = self._context.new_page()
        self.tab.set_default_timeout(5000)
        self.tab.on("console", lambda message: self._complain(message.type, message.text))
        self.tab.on("pageerror", lambda error: self._complain("error", str(error)))
        self.tab.on("requestfailed", lambda request: self._complain("failed", request.url))
        self.tab.on("request", self._check_address)

    def open(self, page: str) -> Any:
        """The tab after it opened a page, such as "pages/rnn.html?dtype=float32"."""
        self.tab.goto((self.site / "index.html").as_uri().replace("index.html", page))
        return self.tab

    def close(self) -> None:
        """Close the tab."""
        self._context.close()

    def _complain(self, kind: str, text: str) -> None:
        self.complaints.append(f"{self.tab.url}: {kind}: {text}")

    def _check_address(self, request: Any) -> None:
        if not request.url.startswith(("file://", "data:")):
            self._complain("request", request.url)
