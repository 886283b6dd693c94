"""Atomic file writes, JSON files, and safetensors files of named arrays with JSON metadata."""

from diptych.files.digests import digest
from diptych.files.json_files import parse_json, read_json, write_json
from diptych.files.tensors import (
    METADATA,
    check_has_digest,
    load_arrays,
    load_metadata,
    save_arrays,
)
from diptych.files.writing import (
    describe_error,
    read_bytes,
    reading,
    replacing,
    sync,
    write_atomically,
)

__all__ = [
    "METADATA",
    "check_has_digest",
    "describe_error",
    "digest",
    "load_arrays",
    "load_metadata",
    "parse_json",
    "read_bytes",
    "read_json",
    "reading",
    "replacing",
    "save_arrays",
    "sync",
    "write_atomically",
    "write_json",
]
