"""A CUDA device that is pretended: its tensors hold CPU numbers, and obey the rules of CUDA.

`load.activate` makes a CPU build of torch believe in one device. Proved with it: every operation of
the project's CUDA path has its tensors on one device, or in a mixture that CUDA allows (`rules`);
the results are the CPU's bit for bit; and the number of synchronisations and copies, by the line
that causes them (`syncs`, `ledger`).

Not proved: the kernels of CUDA and their rounding, cuDNN, cuBLAS and TF32, the order of streams,
memory, CUDA graphs, NCCL and torch.compile. An LSTM layer is one operation, the CPU's own
(`kernels`). Backward passes run in the calling thread.
"""
