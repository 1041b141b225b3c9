"""Policy gradients through a learned Q function: the gradient of Q by the action, back-propagated into the policy."""
