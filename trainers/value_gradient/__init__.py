"""Policy gradients through a learned Q function: the slope of Q by the action, and of the action by the weights."""
