"""Print the synchronisations and copies of a training step of each model on a CUDA device.

    PYTHONPATH=parity_tests python -m helpers.pretended_cuda [MODEL ...] [--amp bf16] [--json]

No GPU is needed. The counts are those of one step as `diptych train` takes it: its batch, its
noise, the loss with its gradients, clipping, Adam and the average of the weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from helpers.pretended_cuda import build
from helpers.pretended_cuda.load import activate


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m helpers.pretended_cuda", description=__doc__)
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--amp", default="off", choices=("off", "bf16", "fp16"))
    parser.add_argument("--norm", action="store_true", help="measure |g| too, as the exercises do")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    reason = build.reason_to_skip()
    if reason:
        sys.exit(reason)
    cuda = activate()
    import torch  # noqa: PLC0415
    from helpers.pretended_cuda import steps  # noqa: PLC0415

    torch.set_num_threads(1)
    models = options.models or list(steps.MODELS)
    results = {m: steps.count(m, cuda, norm=options.norm, amp=options.amp) for m in models}
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for model, result in results.items():
        show(model, result)


def show(model: str, result: dict[str, Any]) -> None:
    """Print the totals of one model and its lines."""
    counts = ", ".join(f"{kind} {count}" for kind, count in result["totals"].items() if count)
    print(f"{model}: {counts or 'nothing'}")
    for line in result["lines"]:
        caller = f"  from {line['caller']}" if line["caller"] else ""
        print(f"  {line['count']:3} {line['kind']:15} {line['place']}{caller}")
        print(f"      {line['line']}   ({line['operation']})")


if __name__ == "__main__":
    main()
