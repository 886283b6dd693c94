"""The runs that cannot take the resident path."""

from __future__ import annotations

from diptych.panels import Panel, TorchPanel
from diptych.panels.ranks import Ranks


def refusal(panel: Panel, ranks: Ranks) -> str | None:
    """Return why a run cannot be resident, as the part of an error after "got True"; else None."""
    if not isinstance(panel, TorchPanel):
        return "with backend 'numpy', takes 'torch'"
    if ranks.size > 1:
        return f"with {ranks.size} processes, takes one: they exchange gradients at every step"
    if panel.engine.amp == "fp16":
        return "with amp 'fp16', takes off or bf16: the scale of a float16 loss is read every step"
    return None
