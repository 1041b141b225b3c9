"""Reads a MuJoCo model: what it holds as arrays for the kernels, and what of it is unsupported."""
