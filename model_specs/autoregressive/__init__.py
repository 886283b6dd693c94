"""Windows of masked convolutions, receptive fields and autoregressive flows."""
