"""Learned dynamics, rewards and values. Empty until the first of them arrives."""

__all__: list[str] = []
