"""Runs the kernels: the simulator in torch autograd, captured launches, shards; and C MuJoCo as a black box."""
