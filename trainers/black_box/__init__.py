"""Search over the parameters of a policy without gradients: ask for members, roll them out together, tell returns."""
