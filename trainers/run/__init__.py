"""One training run: its options, its folder, its checkpoints, its evaluation, and the commands around it."""
