"""Tasks of the humanoid Unitree G1."""
