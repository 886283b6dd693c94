"""Tables of the experiments: dropout and memory, regularisation, the use of the code, the lab."""

from __future__ import annotations

import math
import shlex
import statistics
from pathlib import Path

from diptych.remarks import one_draw_legend, one_draw_mark
from diptych.runs.tables.markdown import Record, Row, commands, table
from diptych.runs.tables.trained import data_name, model_name


def memory(records: list[Record]) -> str:
    """Tables of the accuracy under each dropout scheme, one for each experiment."""
    return "\n\n".join(_memory_table(record) for record in records)


def _memory_table(record: Record) -> str:
    models = record["metrics"]["memory"]
    first = next(iter(models.values()))
    seeds, rate = len(first["settings"]["seeds"]), first["settings"]["rate"]

    def cell(scheme: Record) -> str:
        known = [100 * a for a in scheme["accuracy"] if a is not None]
        lost = len(scheme["accuracy"]) - len(known)
        note = f", {lost} diverged" if lost else ""
        if len(known) < 2:
            return f"–{note}"
        return f"{statistics.mean(known):.1f} ± {statistics.stdev(known):.1f}{note}"

    rows = [
        (f"`{name}`", *(cell(model["schemes"][name]) for model in models.values()))
        for name in first["schemes"]
    ]
    return (
        f"{record['data']}, dropout rate {rate:g}: right answers after training, dropout off, in % "
        f"(mean ± standard deviation of {seeds} seeds; chance {100 * first['chance']:.1f}).\n\n"
        f"{table(('dropout', *models), rows)}\n\n{commands([('', [record['command']])])}"
    )


def regularised(records: list[Record]) -> str:
    """Tables of the perplexity with and without dropout, one for each experiment."""
    return "\n\n".join(_regularised_table(record) for record in records)


def _regularised_table(record: Record) -> str:
    m = record["metrics"]
    rows: list[Row] = []
    for scheme, run in m["curves"].items():
        best = min(range(len(run["valid"])), key=run["valid"].__getitem__)
        last = f"{run['train'][-1]:.1f} / {run['valid'][-1]:.1f}"
        rate = f", rate {run['rate']:g}" if run["rate"] else ""
        lowest = f"**{run['valid'][best]:.1f}** (epoch {run['epoch'][best]})"
        rows.append((f"`{scheme}`{rate}", lowest, last, f"{run['seconds'] / 60:.1f} min"))
    layers, units = m["model"]["num_layers"], m["model"]["hidden_dim"]
    after = f"after epoch {m['run']['epochs']}: training / validation"
    heads = ("dropout", "best validation perplexity", after, "training took")
    return (
        f"An LSTM of {layers} × {units} units on {record['data']}.\n\n{table(heads, rows)}\n\n"
        f"{commands([('', [record['command']])])}"
    )


def preference(records: list[Record]) -> str:
    """Tables of the KL of each decoder, one for each experiment."""
    return "\n\n".join(_preference_table(record) for record in records)


def _preference_table(record: Record) -> str:
    m = record["metrics"]
    rows: list[Row] = []
    for name, run in m["preference"].items():
        code = f"**{run['kl']:.1f}** ({run['kl'] / math.log(2):.1f} bits)"
        nll = f"{run['nll']:.2f} ± {run['nll_standard_error']:.2f}"
        nll += one_draw_mark(run, share=True)
        took = f"{run['seconds'] / 60:.1f} min"
        rows.append((name, str(run["pixels"]), code, nll, f"{run['elbo']:.2f}", took))
    legend = one_draw_legend(" ".join(row[3] for row in rows))
    heads = (
        "decoder, prior",
        "receptive field, pixels",
        "KL, nats",
        "test NLL, nats",
        "ELBO",
        "took",
    )
    return (
        f"VLAE on {data_name(record)}, {m['epochs']} epochs each, {m['free_nats']:g} nats free in "
        f"training, K = {m['samples']}, {m['examples']} test images.{legend}\n\n"
        f"{table(heads, rows)}\n\n{commands([('', [record['command']])])}"
    )


def colour_windows(records: list[Record]) -> str:
    """Tables of the bits per dimension of each window and context, one for each experiment."""
    return "\n\n".join(_colour_windows_table(record) for record in records)


def _colour_windows_table(record: Record) -> str:
    m = record["metrics"]
    rows: list[Row] = []
    for name, run in m["colour_windows"].items():
        bits = f"{run['bits_per_dim']:.3f} ± {run['bits_standard_error']:.3f}"
        bits += one_draw_mark(run, share=True)
        took = f"{run['seconds'] / 60:.0f} min"
        rows.append((name, str(run["pixels"]), bits, f"{run['kl']:.1f}", took))
    legend = one_draw_legend(" ".join(row[2] for row in rows))
    heads = ("window of the decoder", "pixels", "test NLL, bits/dim", "KL, nats", "took")
    return (
        f"VLAE on images of {m['size']} in colour, {record['data']}, {m['epochs']} epochs each, "
        f"{m['free_nats']:.1f} nats of soft free bits, K = {m['samples']}. Published results are "
        f"on other images.{legend}\n\n{table(heads, rows)}\n\n"
        f"{commands([('', [record['command']])])}"
    )


def laboratory(records: list[Record]) -> str:
    """The lab's experiments, and each statement of theory that they test."""
    rows, claims = [], []
    for r in records:
        truths, name = r["metrics"]["truths"], r["name"].removeprefix("lab_")
        held = f"{sum(truths.values())} of {len(truths)}"
        seeds, took = str(len(r["metrics"]["seeds"])), f"{r['time_s'] / 60:.1f} min"
        rows.append((name, data_name(r), seeds, held, took))
        lines = [f"- {'✓' if holds else '✗'} {truth}" for truth, holds in truths.items()]
        claims.append("\n".join([f"### {name}", "", *lines]))
    if not rows:
        return ""
    heads = ("experiment", "data", "seeds", "statements that hold", "took")
    text = (
        "`docs/laboratory.md` tells what each experiment is, and why some statements do not hold."
    )
    block = commands([("", [r["command"] for r in records])])
    return "\n\n".join([text, table(heads, rows), block, *claims])


def paired(records: list[Record]) -> str:
    """Differences between two models on the same images, one row for each pair."""
    rows, groups = [], []
    for r in records:
        m = r["metrics"]
        names = [model_name(settings) for settings in m["settings"]["models"]]
        if names[0] == names[1]:  # told apart by their files
            files = [word for word in shlex.split(r["command"]) if word.endswith(".csv")]
            names = [f"{n}, {Path(f).stem}" for n, f in zip(names, files, strict=True)]
        difference = (
            f"**{m['paired_difference']:+.2f}** ± {m['paired_difference_standard_error']:.2f}"
        )
        unpaired = f"± {m['unpaired_standard_error']:.2f}"
        rows.append((*names, difference, unpaired, f"{m['correlation']:.3f}", str(m["images"])))
        groups.append((" less ".join(names), [r["command"]]))
    if not rows:
        return ""
    heads = ("model A", "model B", "NLL of A less B, nats", "unpaired", "correlation", "images")
    text = (
        "The mean difference of the NLLs of two models on the same images and its standard error, "
        "and beside it that of two independent samples of as many images. The commands read the "
        "files that `--per-image` wrote in the commands of the section before."
    )
    return f"{text}\n\n{table(heads, rows)}\n\n{commands(groups)}"


def collapse(records: list[Record]) -> str:
    """Tables of the KL of models that use their code and of one that does not."""
    return "\n\n".join(_collapse_table(record) for record in records)


def _collapse_table(record: Record) -> str:
    m = record["metrics"]
    rows: list[Row] = []
    for name, run in m["collapse"].items():
        nll = f"{run['nll']:.2f} ± {run['nll_standard_error']:.2f}"
        nll += one_draw_mark(run, share=True)
        free, kl = f"{run['free_nats']:g}", f"**{run['kl']:.2f}**"
        cells = (name, str(run["pixels"]), free, kl, f"{run['rmse']:.3f}", nll)
        rows.append((*cells, f"{run['seconds']:.0f} s"))
    legend = one_draw_legend(" ".join(row[5] for row in rows))
    heads = (
        "decoder",
        "receptive field, pixels",
        "free, nats",
        "KL, nats",
        "RMSE of x′",
        "test NLL, nats",
    )
    return (
        f"VLAE with a Gaussian z on {data_name(record)}, {m['epochs']} epochs each, "
        f"K = {m['samples']}. A KL of 0 means that q(z|x) is the prior, whatever the image: z "
        f"tells nothing, and a reconstruction x′ is a sample.{legend}\n\n"
        f"{table((*heads, 'took'), rows)}\n\n{commands([('', [record['command']])])}"
    )
