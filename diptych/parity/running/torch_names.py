"""The modules, parameters and buffers of a torch model, by names without prefixes of wrappers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from diptych.parity.running.torch_trace import unwrapped

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_ORIGINAL = re.compile(r"(?:(.*)\.)?parametrizations\.(\w+)\.original(\d*)$")
_INSIDE_PARAMETRIZATION = re.compile(r"(^|\.)parametrizations\.\w+\.\d+\.")
_WEIGHT_NORM = {"0": "_g", "1": "_v"}


class TorchNames:
    """The names of a torch model in a comparison.

    `_orig_mod.` of torch.compile and `module.` of DataParallel are left out. A parametrized weight,
    `parametrizations.weight.original`, is named `weight`; g and v of a weight normalisation are
    `weight_g` and `weight_v`. Buffers inside a parametrization have no name.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._opaque: list[str] = []
        self.modules: dict[str, Any] = dict(self._walk(model, ""))
        self.parameters = {
            self.clean(name): parameter
            for name, parameter in model.named_parameters(remove_duplicate=False)
        }
        self.buffers = {
            name: buffer
            for name, buffer in self.all_buffers()
            if not _INSIDE_PARAMETRIZATION.search(name)
        }

    @property
    def opaque(self) -> list[str]:
        """Paths of the modules that torch.compile or TorchScript has fused."""
        return list(dict.fromkeys(self._opaque))

    def all_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """(name, buffer) of the state_dict's buffers, under every name they have."""
        transient = {
            f"{path}.{name}" if path else name
            for path, module in self.model.named_modules(remove_duplicate=False)
            for name in module._non_persistent_buffers_set
        }
        for name, buffer in self.model.named_buffers(remove_duplicate=False):
            if name not in transient:
                yield self.clean(name), buffer

    def clean(self, name: str) -> str:
        """The name of a parameter or buffer without the prefixes."""
        name = name.replace("_orig_mod.", "")
        if isinstance(self.model, _WRAPPERS):
            name = name.removeprefix("module.")
        if match := _ORIGINAL.match(name):
            owner, tensor, number = match.groups()
            suffix = _WEIGHT_NORM.get(number, "") if self._is_weight_norm(owner, tensor) else ""
            suffix = suffix or (f".original{number}" if number else "")
            name = ".".join(filter(None, (owner, tensor + suffix)))
        return name

    def _is_weight_norm(self, owner: str | None, tensor: str) -> bool:
        parametrizations = getattr(self.modules.get(owner or ""), "parametrizations", {})
        chain = parametrizations[tensor] if tensor in parametrizations else ()  # noqa: SIM401
        return any(type(p).__name__ == "_WeightNorm" for p in chain)

    def _walk(self, module: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
        """(path, module) of a module and of what is below it, unless that is fused."""
        yield path, module
        if is_compiled(module) or is_script(module):
            self._opaque.append(path)
            return
        for name, child in module._modules.items():
            if child is None or name == "parametrizations":
                continue
            if isinstance(module, _WRAPPERS):  # the wrapper stands for the module in it
                yield from ((p, m) for p, m in self._walk(child, path) if p != path)
            else:
                yield from self._walk(child, f"{path}.{name}" if path else name)


def is_compiled(module: Any) -> bool:
    """True for a module of torch.compile, also for one compiled in place."""
    return unwrapped(module) is not module or module._compiled_call_impl is not None


def is_script(module: Any) -> bool:
    """True for a module of TorchScript."""
    return isinstance(module, torch.jit.ScriptModule)
