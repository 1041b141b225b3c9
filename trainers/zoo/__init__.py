"""Trained policies that are shipped with diffsim."""
