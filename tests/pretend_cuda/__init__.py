"""A pretended CUDA device: host code for GPUs runs on a machine without one.

Its tensors say that they are on cuda:0 or cuda:1, and keep their numbers on the CPU. As on a GPU, they refuse `numpy`
and tensors of other devices, generators must be on the device of what they draw, and autograd runs backward in a
thread of the device. It counts the waits of the host for the device. It does not run anything on a GPU: kernels run on
the CPU, in the memory layout for CUDA.
"""
