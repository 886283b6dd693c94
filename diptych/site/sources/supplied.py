"""The definitions that only the left panel writes out since torch has them, and torch's calls.

Every name on the right of the table is imported when a page is read, so that none can be wrong.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch_impl
from diptych.site.sources.page import Quote
from diptych.site.sources.statements import Function

SUPPLIED: dict[str, dict[str, str]] = {
    "lstm": {"sigmoid": "torch.sigmoid"},
    "nn/images": {"_sigmoid": "torch.sigmoid"},
    "nn/functional": {
        "linear": "torch.nn.functional.linear",
        "embedding": "torch.nn.functional.embedding",
        "add_rows": "torch.nn.functional.embedding; its backward sums the gradients of equal ids",
        "add_product": "torch.nn.functional.linear; its backward computes the weight's gradient",
        "relu": "torch.nn.functional.relu",
        "ReLU": "torch.nn.ReLU",
        "elu": "torch.nn.functional.elu",
        "ELU": "torch.nn.ELU",
        "tanh": "torch.tanh",
        "Tanh": "torch.nn.Tanh",
        "sigmoid": "torch.sigmoid",
        "cross_entropy": "torch.nn.functional.cross_entropy",
        "row_blocks": "torch.nn.functional.cross_entropy; its kernel takes care of the cache",
    },
    "nn/layers": {
        "Linear.__init__": "torch.nn.Linear",
        "Linear.forward": "torch.nn.Linear",
        "Embedding.__init__": "torch.nn.Embedding",
        "Embedding.forward": "torch.nn.Embedding",
        "batch_norm": "torch.nn.functional.batch_norm",
        "_product_sums": "torch.nn.functional.batch_norm; this is a part of it",
        "_per_channel": "torch.nn.functional.batch_norm; this is a part of it",
        "BatchNorm2d": "torch.nn.BatchNorm2d",
    },
    "nn/convolution": {
        "conv2d": "torch.nn.functional.conv2d",
        "conv_transpose2d": "torch.nn.functional.conv_transpose2d",
        "_Convolution": "torch.nn.modules.conv._ConvNd",
        "_Convolution._add_gradients": "torch.autograd",
        "Conv2d.forward": "torch.nn.Conv2d",
        "ConvTranspose2d.__init__": "torch.nn.ConvTranspose2d",
        "ConvTranspose2d.forward": "torch.nn.ConvTranspose2d",
        "as_pair": "torch.nn.Conv2d; it checks its own arguments",
        "as_output_padding": "torch.nn.functional.conv_transpose2d; it checks its own arguments",
        "_size": "torch.nn.functional.conv2d; this is a part of it",
    },
    "nn/module": {
        "Parameter": "torch.nn.Parameter",
        "Buffer": "torch.nn.Buffer",
        "Module.train": "torch.nn.Module.train",
        "Module.eval": "torch.nn.Module.eval",
        "Module.named_modules": "torch.nn.Module.named_modules",
        "Module.named_parameters": "torch.nn.Module.named_parameters",
        "Module.named_buffers": "torch.nn.Module.named_buffers",
        "Module.parameters": "torch.nn.Module.parameters",
        "Module.zero_grad": "torch.nn.Module.zero_grad",
        "Module.state_dict": "torch.nn.Module.state_dict",
        "Module._state": "torch.nn.Module.state_dict; this is a part of it",
        "Module.astype": "torch.nn.Module.to",
        "Module.forward": "torch.nn.Module.forward",
        "Module.__call__": "torch.nn.Module.__call__",
        "Sequential": "torch.nn.Sequential",
        "_join": "torch.nn.Module.named_parameters; this is a part of it",
    },
    "probability/discretized_logistics": {"logsigmoid": "torch.nn.functional.logsigmoid"},
    "nn/optim": {
        "Optimizer": "torch.optim.Optimizer",
        "SGD": "torch.optim.SGD",
        "RMSprop": "torch.optim.RMSprop",
        "Adam": "torch.optim.Adam",
        "Adamax": "torch.optim.Adamax",
        "clip_grad_norm": "torch.nn.utils.clip_grad_norm_",
    },
}
"""By file and definition of the left panel: the name in torch, and what it does there if the
definition is a helper."""

BODIES: dict[str, dict[str, str]] = {
    "nn/functional": {
        "weight_norm": "torch._weight_norm",
        "softmax": "torch.softmax",
        "log_softmax": "torch.log_softmax",
    },
    "autoregressive/gated_pixel_cnn": {"concat_elu": "torch.nn.functional.elu"},
    "nn/averaging": {"PolyakAverage.update": "torch.optim.swa_utils.get_ema_multi_avg_fn"},
    "probability/distributions": {
        "bernoulli_nll": "torch.nn.functional.binary_cross_entropy_with_logits",
    },
}
"""By file and definition of both panels: the function of torch that does all that the left does."""
SUPPLIES = "torch supplies this"
QUOTED = 2
"""Number of calls that a page shows."""
LAYERS = {
    "torch.nn.functional.embedding": "torch.nn.Embedding",
    "torch.nn.functional.batch_norm": "torch.nn.BatchNorm2d",
    "torch.nn.modules.conv._ConvNd": "torch.nn.Conv2d",
    "torch.nn.Buffer": "torch.nn.Module.register_buffer",
    "torch.optim.Optimizer": "torch.optim.Adam",
}
"""By name of torch that the right panel uses by way of another one: the other one."""
METHODS = (
    *("train", "eval", "parameters", "named_parameters", "named_modules", "named_buffers"),
    *("zero_grad", "state_dict", "register_buffer"),
)
"""Methods of nn.Module, whatever the name of the variable before the dot."""


def supplied_by(stem: str, name: str) -> tuple[str, str]:
    """The name in torch that stands for a definition of the left panel, and a remark.

    Both are "" if torch supplies nothing.
    """
    torch_name, _, detail = SUPPLIED.get(stem, {}).get(name, "").partition("; ")
    if not torch_name:
        return "", ""
    remark = supplies(torch_name)
    return torch_name, f"{remark}; {detail}" if detail else remark


def supplies(torch_name: str) -> str:
    """The remark for what torch supplies; an error if torch has no such name."""
    resolve(torch_name)
    return f"{SUPPLIES}: {short(torch_name)}"


def short(torch_name: str) -> str:
    """The name as code writes it: F.linear, nn.Linear, optim.Adam, torch.sigmoid."""
    for prefix, alias in (
        ("torch.nn.functional.", "F."),
        ("torch.nn.", "nn."),
        ("torch.optim.", "optim."),
    ):
        if torch_name.startswith(prefix):
            return alias + torch_name.removeprefix(prefix)
    return torch_name


def resolve(name: str) -> Any:
    """The object of a dotted name.   Raises: ImportError or AttributeError if there is none."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:k]))
        except ImportError:
            continue
        return functools.reduce(getattr, parts[k:], value)
    raise ImportError(f"{name}: no module of this name")


@dataclass(frozen=True)
class _Use:
    torch_name: str
    quote: Quote


def calls(stem: str, definition: str, torch_name: str) -> bool:
    """True if a function, or another method of its class, uses a name of torch on the right."""
    around = stem.replace("/", "."), definition.partition(".")[0]
    quotes = [use.quote for use in _uses() if use.torch_name == torch_name]
    return any((q.slug, q.definition.partition(".")[0]) == around for q in quotes)


def quotes_of(torch_name: str, stem: str) -> tuple[Quote, ...]:
    """Lines of the right panel that use a name of torch, those of the same file first."""
    slug = stem.replace("/", ".")
    name = LAYERS.get(torch_name, torch_name)
    uses = dict.fromkeys(use.quote for use in _uses() if use.torch_name == name)
    return tuple(sorted(uses, key=lambda quote: quote.slug != slug)[:QUOTED])


@functools.cache
def _uses() -> tuple[_Use, ...]:
    """Every use of a name of torch in the right panel and in the hinge's torch side."""
    from diptych.site.sources.twin_files import twin_files  # noqa: PLC0415  (it reads this module)

    paths = [(file.slug, file.right) for file in twin_files() if file.right]
    hinge = Path(torch_impl.__file__).parent.parent / "diptych" / "panels" / "right.py"
    return tuple(use for slug, path in [*paths, ("", hinge)] for use in _uses_in(slug, path))


def _uses_in(slug: str, path: Path) -> Iterator[_Use]:
    text = path.read_text()
    tree, lines = ast.parse(text), text.splitlines()
    aliases = dict(_aliases(tree))
    panel = path.parent
    while panel.name not in ("torch_impl", "diptych"):
        panel = panel.parent
    name_of_file = path.relative_to(panel.parent).as_posix()
    for definition, call, node in _code(tree, ""):
        name = _dotted(node, aliases)
        if name.startswith("torch."):
            line = (call or node).lineno
            is_long = call is not None and call.end_lineno != line
            source = ast.unparse(call) if call and is_long else lines[line - 1].strip()
            yield _Use(name, Quote(slug, name_of_file, definition, line, source))


def _code(node: ast.AST, definition: str) -> Iterator[tuple[str, ast.Call | None, Any]]:
    """The names of a tree outside of annotations, with the definition and the call around each."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, Function | ast.ClassDef):
                inner = f"{definition}.{child.name}" if definition else child.name
                yield from _code(child, inner)
            elif isinstance(child, ast.AST):
                around = node if isinstance(node, ast.Call) else None
                if isinstance(child, ast.Attribute | ast.Name):
                    yield definition, around, child
                yield from _code(child, definition)


def _aliases(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    alias.asname or alias.name.partition(".")[0],
                    (alias.name if alias.asname else alias.name.partition(".")[0]),
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """The dotted name of an expression; a method of an instance is one of nn.Module."""
    if isinstance(node, ast.Name):
        return aliases.get(node.id, "")
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, aliases)
        if before.startswith("torch.") or before == "torch":
            return f"{before}.{node.attr}"
        return f"torch.nn.Module.{node.attr}" if node.attr in METHODS else ""
    return ""
