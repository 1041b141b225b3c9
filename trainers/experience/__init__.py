"""Where experience comes from and where it is kept: roll-outs, vector environments, the replay buffer, goals."""
