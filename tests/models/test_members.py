"""Members of an ensemble: each has its own bootstrap sample, and each elite is chosen equally often."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from diffsim.models import LearnedMDP, ModelFit, WorldModel
from diffsim.trainers.model_based.planner import CEMPlanner
from tests.models.linear_system import system_data

OBS, ACTION = Box(-np.inf, np.inf, (2,), np.float64), Box(-2.0, 2.0, (1,), np.float32)


def world_model(num_elites=3):
    """Five members, of which the last are the elites."""
    sizes = {"hidden_sizes": (4,), "reward_hidden_sizes": (4,)}
    model = WorldModel(2, 1, num_members=5, num_elites=num_elites, **sizes).double()
    model.elites.copy_(torch.arange(5 - num_elites, 5))
    return model


def test_every_member_has_a_bootstrap_sample_of_its_own():
    """Drawn with replacement: each of K windows is in a sample with probability 1 - (1 - 1/K)^K, about 0.63."""
    train, validation = system_data(100).split(0.2, torch.Generator().manual_seed(0))
    windows, generator = len(train), torch.Generator().manual_seed(3)
    starts = ModelFit(world_model(), train, validation, generator).starts
    assert starts.shape == (5, windows)
    drawn = torch.stack([torch.bincount(row, minlength=windows) for row in starts])
    assert len({tuple(row.tolist()) for row in drawn}) == 5
    share = 1 - (1 - 1 / windows) ** windows
    assert abs((drawn > 0).double().mean().item() - share) < 4 * math.sqrt(share * (1 - share) / (5 * windows))
    shared = (drawn[0] > 0) & (drawn[1] > 0)
    assert abs(shared.double().mean().item() - share**2) < 4 * math.sqrt(share**2 * (1 - share**2) / windows)
    whole = ModelFit(world_model(), train, validation, generator, bootstrap=False).starts
    assert torch.equal(whole, torch.arange(windows).expand(5, -1))


@pytest.mark.parametrize("propagation", ["tsinf", "ts1"])
def test_every_elite_is_drawn_with_the_same_probability(propagation):
    """At the start of a roll-out, and with ts1 at each step: 3,000 draws, within 4 standard errors."""
    mdp = LearnedMDP(world_model(), system_data(60), OBS, ACTION, num_envs=3000, propagation=propagation)
    generator = torch.Generator().manual_seed(0)
    state = mdp.initial(generator)
    if propagation == "ts1":
        noise = torch.randn(3000, mdp.noise_size, generator=generator, dtype=torch.float64)
        state = mdp.transition(state, torch.zeros(3000, 1).double(), noise)
    counts = torch.bincount(state[:, 2].long(), minlength=5) / 3000
    assert counts[:2].sum() == 0
    assert ((counts[2:] - 1 / 3).abs() < 4 * math.sqrt(2 / 9 / 3000)).all()


def test_a_planners_particles_are_spread_over_all_elites():
    """3,000 particles, within 4 standard errors."""
    mdp = LearnedMDP(world_model(), system_data(60), OBS, ACTION)
    planner = CEMPlanner(mdp, horizon=1, num_plans=2, num_best=2, num_particles=3000)
    members = []
    transition = mdp.transition
    mdp.transition = lambda state, *rest: members.append(state[:, 2].long()) or transition(state, *rest)
    planner.returns(torch.zeros(1, 2).double(), torch.zeros(1, 1, 1, 1).double())
    counts = torch.bincount(members[0], minlength=5) / 3000
    assert counts[:2].sum() == 0
    assert ((counts[2:] - 1 / 3).abs() < 4 * math.sqrt(2 / 9 / 3000)).all()
