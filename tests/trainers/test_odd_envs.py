"""Algorithms in environments with unusual spaces: they train and are evaluated, or refuse the space in one sentence."""

import re
from functools import cache

import numpy as np
import pytest
import torch

import diffsim
from diffsim.trainers.errors import UsageError, option_errors
from diffsim.trainers.likelihood_ratio import on_policy
from diffsim.trainers.run.api import NumpyPolicy
from diffsim.trainers.run.arguments import RunOptions, default_policy, parse_fit, pick, resolved
from diffsim.trainers.run.build import build, build_policy
from tests.trainers.odd_envs import CASES, make_odd

ON_POLICY = {"--horizon": 4, "--num_envs": 2}
OFF_POLICY = {"--num_envs": 1, "--steps": 8, "--warmup_steps": 4, "--batch_size": 4, "--replay_size": 50}
MODEL = '{"hidden_sizes": [4], "reward_hidden_sizes": [4], "num_members": 1, "num_elites": 1}'
LEARNER = '{"batch_size": 4, "replay_size": 50, "critic_hidden_sizes": [4]}'
ALGORITHMS = {
    "PPO": {**ON_POLICY, "--epochs": 1, "--minibatches": 1},
    "TRPO": {**ON_POLICY, "--value_epochs": 1},
    "Reinforce": {"--num_envs": 2, "--value_epochs": 1},
    "DQN": OFF_POLICY,
    "SAC": {**OFF_POLICY, "--critic_hidden_sizes": "[4]"},
    "CrossQ": {**OFF_POLICY, "--critic_hidden_sizes": "[4]"},
    "TD3": {**OFF_POLICY, "--critic_hidden_sizes": "[4]"},
    "SVG0": {**ON_POLICY, "--epochs": 1, "--critic_hidden_sizes": "[4]"},
    "MBPO": {
        **{"--num_envs": 1, "--initial_steps": 8, "--fit_every": 4, "--branches_per_step": 1, "--updates_per_step": 1},
        **{"--model_kwargs": MODEL, "--fit_kwargs": '{"max_epochs": 1}', "--learner_kwargs": LEARNER},
    },
}
CHOOSERS = ("PPO", "TRPO", "Reinforce")
"""Algorithms whose policy is chosen by the action space."""


def refusal(name, algorithm):
    """What the refusal says, or None if the algorithm must work."""
    sees, does = name.partition("Does")[::2]
    if sees in NOTHING_TO_SEE:
        return NOTHING_TO_SEE[sees]
    if algorithm == "DQN":
        return None if does in ("Late", "Choice") else "action_space must be Discrete, got"
    if sees == "SeesTinyImage":
        return r"convolutions must fit an image of shape \(2, 2\), got .*; \[\] uses no convolutions"
    if does in NOTHING_TO_DO:
        return NOTHING_TO_DO[does]
    if sees in IMAGES and algorithm == "MBPO" and does == "Pushes":
        return "observations must be vectors for MBPO, got Box"
    if does in ("Switches", "Grid", "Late", "Choice", "Hybrid", "IntegerBox") and algorithm not in CHOOSERS:
        return "action_space must be a (gymnasium.spaces.)?Box"
    if does in ("Unbounded", "OneSided") and algorithm in ("SAC", "CrossQ", "TD3", "MBPO"):
        return "action_space must be one with finite bounds"
    return None


IMAGES = ("SeesBytes", "SeesUnsigned16", "SeesFloatImage")
NUMBERLESS = "observation_space must be a Box, Discrete, MultiDiscrete or MultiBinary space, or a Dict or Tuple of"
NOTHING_TO_SEE = {
    "SeesMovie": "observation_space must be one with at most 3 axes, got Box",
    "SeesHugeCell": "observation_space must be one with at most 100,000 choices",
    "SeesNothing": "observation_space must be one with at least one number, got Box",
    "SeesEmptyDict": "observation_space must be one with at least one number, got Dict",
    "SeesWords": f"{NUMBERLESS} these, got Text.* as 'note.title'",
    "SeesList": NUMBERLESS,
    "SeesNet": NUMBERLESS,
}
NOTHING_TO_DO = {
    "AllIntegers": "action_space must be .* (at most 1024 values|of floats)",
    "ZeroWidth": "action_space must be one with low < high, got low = 0.5 and high = 0.5 for number 0",
    "NoAction": "action_space must be a Box with at least one number",
    "TwoBoxes": "action_space must be .* got (Dict|Box)",
    "Say": "action_space must be .* got Text",
}


@cache
def options(algorithm, policy):
    """All options of a small run, by name."""
    words = {"--task": "?", "--algorithm": algorithm, "--policy": policy, **ALGORITHMS[algorithm]}
    words |= {"--hidden_sizes": "[4]", "--convolutions": "[[2, 4, 4]]", "--evaluate_episodes": 1}
    return resolved(parse_fit([str(word) for pair in words.items() for word in pair]))


def built(name, algorithm):
    """The algorithm as `diffsim fit` makes it."""
    task = f"tests.trainers.odd_envs:{name}-v0"
    values = {**options(algorithm, default_policy(algorithm, task)), "task": task}
    with option_errors():
        made = build(RunOptions(**pick(values, RunOptions)), values)
        made.check()
    return made


@pytest.mark.filterwarnings("ignore::UserWarning:gymnasium")
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_it_works_or_is_refused_in_one_sentence(algorithm, name, monkeypatch):
    """The environments assert that every action is in their space."""
    monkeypatch.setattr(on_policy, "NORMALIZER_WARM_UP_STEPS", 8)
    expected = refusal(name, algorithm)
    if expected is not None:
        with pytest.raises(UsageError) as caught:
            built(name, algorithm)
        message = str(caught.value)
        assert re.match(expected, message) and "\n" not in message, message
        return
    made = built(name, algorithm)
    before = [p.detach().clone() for p in made.policy.parameters()]
    rows = [made.train_iteration() for _ in range(2 if algorithm == "MBPO" else 1)]
    assert all(np.isfinite(value) for row in rows for value in row.values())
    assert any(not torch.equal(*pair) for pair in zip(before, made.policy.parameters(), strict=True)), "it learned"
    assert 4.0 <= made.evaluate()["return"] <= 5.0
    env, run = make_odd(name), options(algorithm, made.policy.__class__.__name__)
    policy = build_policy(env.observation_space, env.action_space, RunOptions(**pick(run, RunOptions)), run).to(
        diffsim.dtype
    )
    policy.load_state_dict(made.policy.state_dict())
    assert env.action_space.contains(NumpyPolicy(policy)(env.reset(seed=0)[0])), "loaded for the environment itself"
