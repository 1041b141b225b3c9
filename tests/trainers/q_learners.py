"""Small algorithms that learn Q, a function that trains them, and a random generator."""

import torch

from diffsim.policies import GaussianMLP
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.run.arguments import RunOptions
from diffsim.trainers.value_gradient.sac import SAC
from tests.trainers.running import runner

SMALL = {"steps": 12, "warmup_steps": 9, "batch_size": 8, "replay_size": 30, "critic_hidden_sizes": (8,)}
STATE = {"std": "state", "normalize": False}
run = runner(RunOptions(task="small", evaluate_every=2))


def make(cls, kind, env, seed=0, policy=None, **options):
    torch.manual_seed(seed)
    spaces = env.single_observation_space, env.single_action_space
    net = kind(*spaces, **{"hidden_sizes": (8,), **(policy or {})}).double()
    return cls(env, net, seed=seed, **options)


def small_sac():
    return make(SAC, GaussianMLP, make_env("Pendulum-v1", 2, seed=1), 1, STATE, **SMALL)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
