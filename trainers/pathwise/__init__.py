"""Policy gradients by differentiating through the dynamics."""
