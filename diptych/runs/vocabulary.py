"""The vocabulary of a run on text, stored in its folder, so that sampling needs no corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from diptych.data.corpus import Vocabulary
from diptych.files import read_json, write_json
from diptych.runs.data_identity import array_digest

FILE = "vocabulary.json"


def write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    """Write the vocabulary into a run folder; its digest is one of run.json's `data_digests`."""
    write_json(folder / FILE, asdict(vocabulary))


def has_vocabulary(settings: Mapping[str, Any]) -> bool:
    """True if the run folder with these contents of run.json holds a vocabulary."""
    digests = settings.get("data_digests")
    return isinstance(digests, dict) and "vocabulary" in digests


def read_vocabulary(folder: Path, settings: Mapping[str, Any]) -> Vocabulary:
    """Read the vocabulary of a run on text. `settings` are the contents of its run.json.

    Raises: ValueError that names the file if it is missing, damaged, or not the one that was
    written.
    """
    path = folder / FILE
    expected = "expected the vocabulary of the run"
    fields = read_json(path)
    try:
        vocabulary = Vocabulary(**fields | {"tokens": tuple(fields["tokens"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: found {error}, {expected}") from None
    if array_digest(vocabulary.contents) != settings["data_digests"]["vocabulary"]:
        raise ValueError(f"{path}: found other tokens, {expected}, whose digest run.json holds")
    return vocabulary
