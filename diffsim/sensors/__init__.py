"""MuJoCo's sensors on tensors: which of them there are, and how each is computed."""
