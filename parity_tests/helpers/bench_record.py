"""A result of `diptych bench` whose times follow a formula, for tests of tables and pages."""

from __future__ import annotations

from typing import Any

BATCHES = (1, 16, 256)
OWN = 16
SLOPES = {"numpy": 0.5, "torch": 0.125, "torch cuda": 0.001}
STARTS = {"numpy": 1.0, "torch": 3.0, "torch cuda": 20.0}


def record(device: str = "cpu", name: str = "speed") -> dict[str, Any]:
    """Milliseconds = start + slope * batch: torch overtakes NumPy between batch 1 and 16."""
    backends = [b for b in SLOPES if device != "cpu" or "cuda" not in b]
    speed = [_row(backend, batch) for batch in BATCHES for backend in backends]
    key = {"model": "mlp_vae", "config": "784-400-20", "dtype": "float32"}
    cut = [key | {"batch": 4096, "backend": "numpy", "reason": "a step would take 3.1 s"}]
    metrics = {
        "threads": 2,
        "device": device,
        "quick": True,
        "base": "torch",
        "speed": speed,
        "compared": [
            key
            | {"batch": b, "operation": "step", "backend": n, "tensors": 13}
            | {"error": 1e-7, "bound": 1e-5, "tensor": "loss term total"}
            for b in BATCHES
            for n in backends
        ],
        "cut": cut,
        "crossovers": [
            key | {"backend": "torch", "batch": 5.5, "text": "torch overtakes NumPy at batch 5.5"}
        ],
        "peaks": [{"device": "cpu", "dtype": "float32", "flops": 1e11, "bytes": 1e10}],
        "top": [key | {"batch": OWN, "backend": "numpy", "name": "tanh", "share": 0.4}],
    }
    return {
        "name": name,
        "command": "diptych bench mlp_vae --quick",
        "seed": 0,
        "data": "random batches",
        "device": "cpu" if device == "cpu" else "NVIDIA H200",
        "machine": "x86_64, a processor, 2 cores",
        "versions": {"diptych": "0.1.0", "torch": "2.13"},
        "commit": "0123456789ab",
        "time_s": 61.0,
        "metrics": metrics,
    }


def _row(backend: str, batch: int) -> dict[str, Any]:
    ms = STARTS[backend] + SLOPES[backend] * batch
    base = STARTS["torch"] + SLOPES["torch"] * batch
    return {
        "model": "mlp_vae",
        "config": "784-400-20",
        "batch": batch,
        "dtype": "float32",
        "operation": "step",
        "backend": backend,
        "preset": batch == OWN,
        "ms": ms,
        "ms_iqr": 0.2,
        "rounds": 5,
        "calls": 50,
        "ratio": ms / base,
        "per_second": 1e3 * batch / ms,
        "unit": "examples",
        "host_mib": 12.0,
        "device_mib": 3.0 if "cuda" in backend else None,
        "flops": 1e6 * batch,
        "bytes": 1e6,
        "roofline": 0.25,
        "bound": "flops",
    }
