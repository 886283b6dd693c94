"""Measured results: JSON files of one schema, and the README's tables made from them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from diptych import pairs
from diptych.files import write_atomically
from diptych.runs.environment import environment

FIELDS = (
    "name",
    "command",
    "seed",
    "data",
    "device",
    "machine",
    "versions",
    "commit",
    "time_s",
    "metrics",
)
FOLDER = Path(__file__).parents[2] / "benchmarks" / "results"
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def write(path: Path, **fields: Any) -> None:
    """Write one result; machine, versions and commit are filled in from here and now.

    Raises: ValueError for a field that the schema lacks, or that is missing.
    """
    record = environment() | fields
    settings = record.pop("settings", None)
    missing = [name for name in FIELDS if name not in record]
    unknown = [name for name in record if name not in FIELDS]
    if missing or unknown:
        raise ValueError(f"{path}: result lacks {missing} and has unknown {unknown}")
    ordered = {name: record[name] for name in FIELDS}
    if settings is not None:
        ordered["metrics"] = {**ordered["metrics"], "settings": settings}
    write_atomically(path, (json.dumps(ordered, indent=1) + "\n").encode())


def read(path: Path) -> dict[str, Any]:
    """Read one result back. Raises: ValueError that names the file and what is missing."""
    try:
        record = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a result ({error})") from None
    if list(record) != list(FIELDS):
        raise ValueError(f"{path}: has fields {list(record)}, takes {list(FIELDS)}")
    return record


def render(folder: Path = FOLDER) -> str:
    """The README's tables, in Markdown, from every result in `folder`."""
    records = [read(path) for path in sorted(folder.glob("*.json"))]
    written = [r for r in records if "test_perplexity" in r["metrics"]]
    pictured = [r for r in records if "image_size" in _fields(r)]
    trained = [r for r in records if "test_nll" in r["metrics"] and r not in written + pictured]
    compared = [r for r in records if "relative_difference_train_epochs" in r["metrics"]]
    timed = [r for r in records if "rounds" in r["metrics"]]
    remembered = [r for r in records if "memory" in r["metrics"]]
    regularised = [r for r in records if "best_valid_perplexity" in r["metrics"]]
    preferred = [r for r in records if "preference" in r["metrics"]]
    explored = [r for r in records if "truths" in r["metrics"]]
    parts = [
        _markdown(
            ("run", "test NLL, nats", "ELBO", "on z, nats", "training", "device", "commands"),
            [_trained_row(r) for r in trained],
        ),
        _markdown(
            ("run", "ELBO, nats", "reconstruction, RMSE", "training", "device", "commands"),
            [_pictured_row(r) for r in pictured],
        ),
        _markdown(
            ("run", "valid perplexity", "test perplexity", "training", "device", "commands"),
            [_written_row(r) for r in written],
        ),
        _markdown(
            (
                "one run on both panels: how far the losses part, relative",
                "each of 100 steps",
                "training epochs",
                "validation",
                "NumPy took",
                "PyTorch took",
            ),
            [_compared_row(r) for r in compared],
        ),
        *(_memory_table(r) for r in remembered),
        *(_regularised_table(r) for r in regularised),
        *(_preference_table(r) for r in preferred),
        _markdown(
            ("experiment", "what theory says, and the numbers bear out", "took", "command"),
            [_explored_row(r) for r in explored],
        ),
        *(_timed_table(r) for r in timed),
    ]
    return "\n\n".join(part for part in parts if part)


def _fields(record: dict[str, Any]) -> dict[str, Any]:
    """Of the model that was trained, none where the result is not of one."""
    return record["metrics"].get("settings", {}).get("model_config", {})


def _trained_row(record: dict[str, Any]) -> tuple[str, ...]:
    m, s = record["metrics"], record["metrics"]["settings"]
    pair = pairs.get(s["model"])
    title = pair.traits(pair.config(**s["model_config"])).title
    return (
        f"{s['model']} {title}, {s['data']}, {s['backend']}, {s['dtype']}",
        f"**{m['test_nll']:.2f}** ± {m['test_nll_standard_error']:.2f} "
        f"(K = {m['test_samples']}, {m['test_examples']} images)",
        f"{m['test_elbo']:.2f}",
        f"{m['test_kl']:.2f} ({m['test_kl'] / math.log(2):.1f} bits)",
        f"{m['epochs']} epochs, {m['train_seconds'] / 60:.1f} min",
        record["device"],
        f"`{s['command']}`; `{record['command']}`",
    )


def _pictured_row(record: dict[str, Any]) -> tuple[str, ...]:
    m, s = record["metrics"], record["metrics"]["settings"]
    c = s["model_config"]
    size = f"{c['in_channels']} x {c['image_size']} x {c['image_size']}"
    return (
        f"{s['model']} {size}, {c['base_channels']} channels, {c['latent_dim']} latents, "
        f"{c['recon_type']}; {s['backend']}, {s['dtype']}; {record['data']}",
        f"{m['test_elbo']:.0f}",
        f"**{m['test_rmse']:.3f}** of [0, 1] ({m['test_examples']} images)",
        f"{m['epochs']} epochs, {m['train_seconds'] / 60:.1f} min",
        record["device"],
        f"`{s['command']}`; `{record['command']}`",
    )


def _explored_row(record: dict[str, Any]) -> tuple[str, ...]:
    message = (
        f"{truth} {'✓' if holds else '✗'}" for truth, holds in record["metrics"]["truths"].items()
    )
    return (
        f"{record['name'].removeprefix('lab_')}, {record['data'].partition(':')[0]}",
        "; ".join(message),
        f"{record['time_s']:.0f} s",
        f"`{record['command']}`",
    )


def _written_row(record: dict[str, Any]) -> tuple[str, ...]:
    m, s = record["metrics"], record["metrics"]["settings"]
    c = s["model_config"]
    dropout = "no dropout" if c["scheme"] == "none" else f"{c['scheme']} {c['rate']:g}"
    return (
        f"{s['model']} {c['num_layers']} x {c['hidden_dim']}, {dropout}, {s['data']}, "
        f"{s['backend']}, {s['dtype']}",
        f"{m['history'][-1]['perplexity']:.2f}",
        f"**{m['test_perplexity']:.2f}** ({m['test_tokens']} tokens, one pass)",
        f"{m['epochs']} epochs, {m['train_seconds'] / 60:.1f} min",
        record["device"],
        f"`{s['command']}`; `{record['command']}`",
    )


def _compared_row(record: dict[str, Any]) -> tuple[str, ...]:
    m = record["metrics"]
    return (
        f"{record['data']}, {m['dtype']}, {m['epochs']} epochs: `{record['command']}`",
        *(f"{m[f'relative_difference_{k}']:.0e}" for k in ("first_100_steps", "train_epochs")),
        f"{m['relative_difference_valid_epochs']:.0e}",
        *(f"{m[f'train_seconds_{backend}']:.0f} s" for backend in ("numpy", "torch")),
    )


def _memory_table(record: dict[str, Any]) -> str:
    result = record["metrics"]["memory"]
    first = next(iter(result.values()))
    seeds, rate = len(first["settings"]["seeds"]), first["settings"]["rate"]
    head = f"`{record['command']}`: {record['data']}, rate {rate:g}, right answers after training, "
    head += f"dropout off, in % (mean ± standard deviation of {seeds} seeds; "
    head += f"chance {100 * first['chance']:.1f})."

    def cell(scheme: dict[str, Any]) -> str:
        lost = sum(message is not None for message in scheme["diverged"])
        message = f", {lost} diverged" if lost else ""
        if scheme["spread"] is None:
            return f"–{message}"
        return f"{100 * scheme['mean']:.1f} ± {100 * scheme['spread']:.1f}{message}"

    rows: list[tuple[str, ...]] = [
        (f"`{scheme}`", *(cell(model["schemes"][scheme]) for model in result.values()))
        for scheme in first["schemes"]
    ]
    return f"{head}\n\n" + _markdown(("dropout", *result), rows)


def _preference_table(record: dict[str, Any]) -> str:
    m = record["metrics"]
    rows: list[tuple[str, ...]] = [
        (
            name,
            str(run["pixels"]),
            f"**{run['kl']:.1f}** ({run['kl'] / math.log(2):.1f} bits)",
            f"{run['nll']:.2f} ± {run['nll_standard_error']:.2f}",
            f"{run['elbo']:.2f}",
            f"{run['seconds'] / 60:.1f} min",
        )
        for name, run in m["preference"].items()
    ]
    data = record["data"].partition(":")[0]
    head = (
        f"`{record['command']}`: VLAE, {data}, {m['epochs']} epochs each, {m['free_nats']:g} nats "
        f"free in training, K = {m['samples']}, {m['examples']} test images."
    )
    names = ("decoder, prior", "pixels it sees", "on z, nats", "test NLL, nats", "ELBO", "took")
    return f"{head}\n\n{_markdown(names, rows)}"


def _regularised_table(record: dict[str, Any]) -> str:
    m = record["metrics"]
    rows: list[tuple[str, ...]] = []
    for scheme, run in m["curves"].items():
        best = min(range(len(run["valid"])), key=run["valid"].__getitem__)
        last = f"{run['train'][-1]:.1f} / {run['valid'][-1]:.1f}"
        rate = f", rate {run['rate']:g}" if run["rate"] else ""
        at = f"**{run['valid'][best]:.1f}** (epoch {run['epoch'][best]})"
        rows.append((f"`{scheme}`{rate}", at, last, f"{run['seconds'] / 60:.1f} min"))
    layers, units = m["model"]["num_layers"], m["model"]["hidden_dim"]
    head = f"`{record['command']}`: LSTM {layers} x {units}, {record['data']}."
    after = f"after epoch {m['run']['epochs']}: training / validation"
    return f"{head}\n\n" + _markdown(
        ("dropout", "best validation perplexity", after, "training took"), rows
    )


def _timed_table(record: dict[str, Any]) -> str:
    loads = {k: v for k, v in record["metrics"].items() if isinstance(v, dict)}
    ways = list(next(iter(loads.values())))
    base = record["metrics"].get("base", "eager torch on the CPU")
    head = f"`{record['command']}`: median ms (ratio to {base}), "
    head += f"{record['metrics']['rounds']} interleaved rounds, "
    head += f"{record['metrics']['threads']} threads, {record['machine']}, {record['device']}."
    rows = [(name, *(_timed_cell(load.get(way)) for way in ways)) for name, load in loads.items()]
    return f"{head}\n\n" + _markdown(("size, dtype, work", *ways), rows)


def _timed_cell(result: dict[str, float] | None) -> str:
    if result is None:
        return ""
    peak = f", {result['peak_mib']:.0f} MiB" if "peak_mib" in result else ""
    naive = f", {result['times_naive']:.0f} x naive" if "times_naive" in result else ""
    return f"{result['ms']:.3g} ({result['ratio']:.2f}){peak}{naive}"


def _markdown(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    if not rows:
        return ""
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_tables(readme: str, tables: str) -> str:
    """`readme` with what stands between its two marks replaced. ValueError where they lack."""
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"README: lacks the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{tables}\n\n{END}{tail}"


if __name__ == "__main__":
    write_atomically(README, with_tables(README.read_text(), render()).encode())
