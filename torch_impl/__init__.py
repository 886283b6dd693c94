"""Right panel: PyTorch, vectorised, on CPU and CUDA. Never imports numpy_ref."""
