"""Runs the kernels: the simulator in torch autograd, CUDA graphs, shards, and C MuJoCo as a black box."""
