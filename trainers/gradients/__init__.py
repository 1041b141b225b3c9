"""Estimators of the policy gradient, measured side by side: the `diffsim gradients` command."""
