"""Masked convolutions, pixel decoders, flows, ancestral sampling and the latents of the VLAE."""
