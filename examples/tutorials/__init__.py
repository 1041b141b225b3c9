"""Tutorials: scripts in cells, which are also pages of the documentation, and notebooks."""
