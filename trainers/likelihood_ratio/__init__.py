"""Likelihood-ratio policy gradients. They need no derivative of the dynamics."""
