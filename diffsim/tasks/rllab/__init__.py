"""Tasks of rllab's benchmark: Duan et al. (2016), "Benchmarking Deep Reinforcement Learning for Continuous Control"."""
