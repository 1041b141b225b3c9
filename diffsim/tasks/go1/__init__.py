"""Tasks of the quadruped Unitree Go1."""
