"""Why a statement stands alone: rules that read the statement, and a short table for the rest.

A rule gives a remark only where the statement itself shows that it is true.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from diptych.site.sources.backward import backward_only
from diptych.site.sources.lone import lone
from diptych.site.sources.page import SideName, Statement
from diptych.site.sources.statements import Branch

AUTOGRAD = "autograd does this on the right"
DTYPE = "the dtype of the parameters below", r"dtype = as_dtype\(dtype\)$"
RULES: dict[SideName, tuple[tuple[str, str], ...]] = {
    "left": (
        DTYPE,
        ("only the left panel has this import", r"import |from "),
        ("NumPy would warn here; torch does not", r"with np\.errstate\("),
        (
            "the gradient of data is left out; autograd sees by itself that data needs none",
            r"self\._input_grad = input_grad$",
        ),
    ),
    "right": (
        DTYPE,
        ("only the right panel has this import", r"import |from "),
        (
            "nn.Module's own constructor, which the left panel's Module does without",
            r"super\(\)\.__init__\(\)$",
        ),
        (
            "autograd must not record this; on the left nothing is recorded",
            r"with torch\.no_grad\(",
        ),
        ("autograd must not follow it; the left writes no vjp for it", r"[^=]+ = .*\.detach\(\)$"),
        (
            "only torch has fused kernels; the left has the loop over time",
            r".*fused|check_choice\('kernel'",
        ),
        (
            "the dtype and the device; only the right panel has devices",
            r"(?:dtype, device|factory_kwargs)\b.* = .*device",
        ),
        ("only the right panel has devices", r"device = |if .*device"),
        ("only the right panel runs under autocast", r".*autocast"),
        (
            "the host waits for the device once; the left panel has no device",
            r"with checks\.together\(\)",
        ),
        ("for the type checker", r"assert |\w+: [^=]+$"),
        (
            "torch's own layer, without its draw from torch's global random state",
            r"return skip_init\(",
        ),
        ("names of torch.nn that this file passes on", r"__all__ ="),
    ),
}
"""By side: remarks, and the beginning of a statement's first line that each of them needs."""


def remark(
    statement: Statement, side: SideName, stem: str, name: str, function: Sequence[Statement]
) -> str:
    """The remark for a statement without a twin, "" if no rule holds.

    `function` has all statements of its side of the definition.
    """
    if statement.kind == "vjp":
        return AUTOGRAD
    source = first_line(statement.node)
    if text := lone(stem, side, name, source):
        return text
    for text, pattern in RULES[side]:
        if re.match(pattern, source):
            return text
    if side == "left" and statement in backward_only(function):
        return f"for the vjp: {AUTOGRAD}"
    return ""


def first_line(node: ast.AST) -> str:
    """The text by which the table names a statement, as `ast.unparse` writes it."""
    return node.word if isinstance(node, Branch) else ast.unparse(node).partition("\n")[0]
