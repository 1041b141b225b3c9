"""Learning a model of the environment, and improving a policy by it."""
