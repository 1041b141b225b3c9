"""Algorithms that learn a model of the environment, and train a policy or plan with it."""
