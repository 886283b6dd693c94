"""The built site and a browser, for the tests of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import site_in_browser


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder of the site, built once for all workers, with the measurements of one pair."""
    folder = tmp_path_factory.getbasetemp()
    is_worker = hasattr(request.config, "workerinput")
    return site_in_browser.build_once(folder.parent if is_worker else folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser. It ends with the module: its event loop would be in the way of other tests."""
    with site_in_browser.launched() as browser:
        yield browser


@pytest.fixture
def reader(browser: Any, built_site: Path) -> Iterator[site_in_browser.Reader]:
    """A tab of the browser; the test fails if a page writes an error or leaves the folder."""
    reader = site_in_browser.Reader(browser, built_site)
    yield reader
    reader.close()
    assert not reader.complaints, "\n".join(reader.complaints)
