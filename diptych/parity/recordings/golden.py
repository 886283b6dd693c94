"""Golden files: the run of a model, written to one safetensors file and read back.

The keys can be read with any safetensors library:

    parameter/encoder.weight            a parameter before the run; buffer/... likewise
    input/0                             an argument of the root method
    call/encoder.0/output               an output of a call; .../output/.mu if it is named
    call/encoder.0/output gradient      the gradient of the loss with respect to it
    call/encoder.0/input/0              an argument of a call; call/encoder.0/input gradient/0
    parameter gradient/encoder.weight   after the whole backward pass
    buffer after/norm.running_mean      after the run

Everything else is JSON in the file's metadata: the calls in their order, the structure of the
arguments, and the versions of Python, NumPy, torch and diptych. An input of a call that is equal to
an array stored before, for example the output of the previous layer, is not stored twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from diptych.files import load_arrays, save_arrays
from diptych.parity.recordings.packing import Reader, Writer
from diptych.parity.running.run import Run
from diptych.parity.running.trace import Call
from diptych.parity.versions import versions

SUFFIX = ".safetensors"
FORMAT = "diptych recording"
VERSION = 1
_ARRAYS = {  # fields of a Call that hold arrays by name, in the order in which they are stored
    "outputs": "output",
    "output_grads": "output gradient",
    "input_grads": "input gradient",
    "inputs": "input",
}
_KINDS = {  # fields of a Run
    "gradients": "parameter gradient",
    "buffers": "buffer after",
    "outputs": "output",
}
_PLAIN = [f.name for f in fields(Call) if f.name not in (*_ARRAYS, "parent")]


def save_run(path: str | os.PathLike[str], run: Run) -> None:
    """Write a run to a golden file, atomically.

    Raises: ValueError if the folder cannot be written.
    """
    writer = Writer()
    metadata = {"format": FORMAT, "version": VERSION, "versions": versions()}
    metadata |= {"run": pack_run(writer, run), "copies": writer.copies}
    save_arrays(path, writer.arrays, metadata)


def load_run(path: str | os.PathLike[str]) -> Run:
    """Read the run in a golden file.

    Raises: ValueError that names the file and the fault: missing, truncated, not safetensors, not
    a recording, of another format version, or with missing or unexpected entries.
    """
    return read(path, FORMAT, lambda reader, metadata: unpack_run(reader, metadata["run"]))


def read(
    path: str | os.PathLike[str],
    expected: str,
    unpack: Callable[[Reader, Mapping[str, Any]], Any],
) -> Any:
    """Read a file of this format and version, and check that it has exactly its own entries."""
    arrays, metadata = load_arrays(path)
    check_format(path, metadata, expected)
    reader = Reader(arrays, metadata.get("copies", {}))
    try:
        result = unpack(reader, metadata)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: its metadata is damaged ({detail})") from None
    if reader.missing:
        raise ValueError(f"{path}: has no entry {_listed(reader.missing)}")
    if reader.unread:
        raise ValueError(f"{path}: has entries that no call names: {_listed(reader.unread)}")
    return result


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a file of diptych: a recording or a saved case.

    Raises: ValueError for any other file, and for another format version.
    """
    return check_format(path, load_arrays(path)[1])


def check_format(path: str | os.PathLike[str], metadata: Any, expected: str = "") -> str:
    """The format of a file of diptych, from its metadata.

    Raises: ValueError unless the format is `expected` (if given) and has the current version.
    """
    name = metadata.get("format") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or (expected and name != expected):
        holds = f"is {name!r}" if isinstance(name, str) else "has no such metadata"
        raise ValueError(
            f"{path}: not a {expected or FORMAT} (it {holds}); parity.record writes recordings, "
            "parity.save_case writes cases"
        )
    if metadata.get("version") != VERSION:
        raise ValueError(
            f"{path}: format version {metadata.get('version')!r}, takes {VERSION}; "
            "record it again with this version of diptych"
        )
    return name


def load_versions(path: str | os.PathLike[str]) -> dict[str, str]:
    """The versions of the software with which a golden file or a saved case was written."""
    metadata = load_arrays(path)[1]
    check_format(path, metadata)
    return dict(metadata["versions"])


def pack_run(writer: Writer, run: Run, prefix: str = "") -> dict[str, Any]:
    """Store the arrays of a run under keys that begin with `prefix`; return the rest as JSON."""
    packed: dict[str, Any] = {
        "root": run.root,
        "dtype": str(run.dtype),
        "device": str(run.device),
        "differentiated": run.differentiated,
        "frozen": sorted(run.frozen),
        "ties": [sorted(group) for group in run.ties],
        "sources": dict(run.sources),
        "aliases": run.aliases,
    }
    packed |= pack_state(writer, run.state, run.parameters, prefix)
    packed["inputs"] = [
        writer.pack(f"{prefix}input/{i}", value, strict=False) for i, value in enumerate(run.inputs)
    ]
    for attribute, kind in _KINDS.items():
        packed[attribute] = list(getattr(run, attribute))
        for name, array in getattr(run, attribute).items():
            writer.add(f"{prefix}{kind}/{name}", array, shared=attribute != "gradients")
    calls: list[dict[str, Any]] = [{} for _ in run.calls]
    for attribute in _ARRAYS:  # the outputs of all calls first: inputs are mostly copies of them
        for call, item in zip(run.calls.values(), calls, strict=True):
            item[attribute] = list(getattr(call, attribute))
            for leaf, array in getattr(call, attribute).items():
                shared = attribute in ("inputs", "output_grads")
                writer.add(_key(prefix, call.name, attribute, leaf), array, shared=shared)
    for call, item in zip(run.calls.values(), calls, strict=True):
        item["parent"] = _recorded_parent(run, call)
        for attribute in _PLAIN:
            key = f"{prefix}call/{call.name}/{attribute}"
            item[attribute] = writer.pack(key, getattr(call, attribute), strict=False)
    packed["calls"] = calls
    packed["events"] = [[phase, call.name] for phase, call in run.events]
    return packed


def unpack_run(reader: Reader, packed: Mapping[str, Any], prefix: str = "") -> Run:
    """Rebuild the run that `pack_run` stored."""
    calls: dict[str, Call] = {}
    for item in packed["calls"]:
        plain = {attribute: reader.unpack(item[attribute]) for attribute in _PLAIN}
        call = calls[plain["name"]] = Call(**plain, parent=None)
        for attribute in _ARRAYS:
            keys = {leaf: _key(prefix, call.name, attribute, leaf) for leaf in item[attribute]}
            setattr(call, attribute, {leaf: reader.get(key) for leaf, key in keys.items()})
    for item in packed["calls"]:
        if item["parent"] is not None:
            calls[item["name"]].parent = calls[item["parent"]]
    run = Run(
        root=packed["root"],
        calls=calls,
        events=[(phase, calls[name]) for phase, name in packed["events"]],
        state=unpack_state(reader, packed, prefix),
        parameters=frozenset(packed["parameters"]),
        frozen=frozenset(packed["frozen"]),
        ties=tuple(frozenset(group) for group in packed["ties"]),
        inputs=tuple(reader.unpack(item) for item in packed["inputs"]),
        differentiated=packed["differentiated"],
        dtype=np.dtype(packed["dtype"]),
        device=packed["device"],
        sources=packed["sources"],
        aliases=packed["aliases"],
    )
    for attribute, kind in _KINDS.items():
        arrays = {name: reader.get(f"{prefix}{kind}/{name}") for name in packed[attribute]}
        setattr(run, attribute, arrays)
    return run


def pack_state(
    writer: Writer, state: Mapping[str, Any], parameters: Iterable[str], prefix: str = ""
) -> dict[str, Any]:
    """Store parameters and buffers; return their names in the order of the state_dict."""
    names = set(parameters)
    for name, array in state.items():
        writer.add(f"{prefix}{'parameter' if name in names else 'buffer'}/{name}", array)
    return {"state": list(state), "parameters": sorted(names)}


def unpack_state(
    reader: Reader, packed: Mapping[str, Any], prefix: str = ""
) -> dict[str, np.ndarray]:
    """Read the parameters and buffers that `pack_state` stored."""
    kinds = {
        name: "parameter" if name in packed["parameters"] else "buffer" for name in packed["state"]
    }
    return {name: reader.get(f"{prefix}{kind}/{name}") for name, kind in kinds.items()}


def _key(prefix: str, call: str, attribute: str, leaf: str) -> str:
    return f"{prefix}call/{call}/{_ARRAYS[attribute]}" + (f"/{leaf}" if leaf else "")


def _recorded_parent(run: Run, call: Call) -> str | None:
    """The name of the innermost recorded call that made this one."""
    parent = call.parent
    while parent is not None and run.calls.get(parent.name) is not parent:
        parent = parent.parent
    return None if parent is None else parent.name


def _listed(names: Iterable[str], count: int = 5) -> str:
    names = [repr(name) for name in names]
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
