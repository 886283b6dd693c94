"""CUDA tensors that hold CPU numbers."""
