"""Compiles a MuJoCo model to arrays for the kernels, and finds its unsupported features."""
