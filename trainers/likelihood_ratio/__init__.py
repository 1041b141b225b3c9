"""Policy gradients that need no derivative of the dynamics: scores of the actions, weighted by what came of them."""
