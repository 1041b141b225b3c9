"""Collecting and storing experience: roll-outs, vector environments, the replay buffer and goals."""
