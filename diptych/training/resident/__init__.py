"""Training steps whose data, noise and results stay on the device: the resident path of a run.

The ordinary path prepares each batch on the host and reads each loss. Here the training set is on
the device once, the inputs and the noise of a block of steps are drawn there in one go, and the
losses are read once a block. On a CUDA device the step is captured as a CUDA graph, so that one
launch replays all of its kernels. The numbers are those of the ordinary path: on the CPU bit for
bit (see diptych.training.resident.optimizers for CUDA).
"""

from diptych.training.resident.refusals import refusal
from diptych.training.resident.step import LINES, ResidentStep

__all__ = ["LINES", "ResidentStep", "refusal"]
