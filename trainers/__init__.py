"""Algorithms that train policies, and the command line that runs them."""
