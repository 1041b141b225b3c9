"""Comparison of estimators of the policy gradient: the `diffsim gradients` command."""
