"""The mathematics of reinforcement learning as functions on tensors, without Lightning."""
