"""Answer requests about the pretended device: one JSON object a line in, one out.

    {"request": "snippet", "source": "result = torch.ones(3, device='cuda').sum().item()"}

The process imports torch and the project once, which takes seconds; each request is answered in a
fork of it, so that no request changes the next one.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

from helpers.pretended_cuda.load import activate


def main() -> None:
    answers_to = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a request prints is no answer
    cuda = activate()
    _import_all()
    from helpers.pretended_cuda.answers import ANSWERS  # noqa: PLC0415

    warnings.simplefilter("error")
    with answers_to:
        for line in sys.stdin:
            request: dict[str, Any] = json.loads(line)
            answer = ANSWERS[request.pop("request")]
            answers_to.write(_in_a_fork(lambda a=answer, r=request: a(cuda, **r)) + "\n")
            answers_to.flush()


def _import_all() -> None:
    """Import what the requests need. No backward pass may run: a fork could run no other."""
    import torch  # noqa: PLC0415
    from helpers.pretended_cuda import situations, steps  # noqa: F401, PLC0415

    import diptych.parity.registered  # noqa: F401, PLC0415

    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # imports torch.compile


def _in_a_fork(answer: Any) -> str:
    """Return the answer of another process as a line of JSON."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = json.dumps(answer())
        except Exception as error:
            text = json.dumps({"failed": f"{type(error).__name__}: {error}"})
        with os.fdopen(write, "w") as file:
            file.write(text)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    _, status = os.waitpid(child, 0)
    return text or json.dumps({"failed": f"the process ended with status {status}"})


if __name__ == "__main__":
    main()
