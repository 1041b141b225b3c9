"""Small runs of every algorithm, and how often they may wait for the device."""

from __future__ import annotations

from typing import Any

OURS, POLE, DOUBLE = "diffsim/InvertedPendulum-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5"
SMALL = {"hidden_sizes": "[8]"}
WINDOW = {"task": DOUBLE, "num_envs": 3, "horizon": 3}
ON_POLICY = {"task": OURS, "num_envs": 2, "horizon": 4, "normalize": "false"}
FEW_EPOCHS = {"epochs": 2, "minibatches": 2}
OFF_POLICY = {
    "task": OURS,
    "num_envs": 2,
    "warmup_steps": 6,
    "steps": 8,
    "batch_size": 8,
    "critic_hidden_sizes": "[8]",
}
MODEL = {
    "task": OURS,
    "num_envs": 2,
    "initial_steps": 40,
    "fit_kwargs": "{batch_size: 32, max_epochs: 2}",
    "model_kwargs": "{hidden_sizes: [8], num_members: 2, num_elites: 2}",
}
SEARCH = {"task": OURS, "num_envs": 4, "population": 4, "elite_fraction": 0.5, "horizon": 20, "hidden_sizes": None}
PLANNER = "{horizon: 3, num_plans: 6, num_best: 2, num_particles: 2, rounds: 1}"

RUNS: dict[str, dict[str, Any]] = {
    "BPTT": WINDOW,
    "BPTT-differences": {**WINDOW, "dynamics": "finite_differences", "num_workers": 0},
    "SHAC": {**WINDOW, "value_slope_weight": 0.1, "value_epochs": 2},
    "SHAC-remat": {**WINDOW, "remat": "true", "value_epochs": 2},
    "SHAC-noise": {
        **WINDOW,
        "policy": "GaussianMLP",
        "entropy_weight": 0.1,
        "process_noise": 0.1,
        "reward_noise": 0.1,
        "value_epochs": 2,
    },
    "Pegasus": WINDOW,
    "Pegasus-coordinate": {"task": POLE, "num_envs": 2, "horizon": 2, "optimizer": "coordinate", "hidden_sizes": "[1]"},
    "Reinforce": {**ON_POLICY, "horizon": None},
    "ActorCritic": {**ON_POLICY, "horizon": None, "steps": 8},
    "A2C": {**ON_POLICY, "updates": 2},
    "PPO": {**ON_POLICY, **FEW_EPOCHS},
    "PPO-discrete": {**ON_POLICY, **FEW_EPOCHS, "task": "CartPole-v1"},
    "NaturalGradient": {**ON_POLICY, "value_epochs": 1},
    "TRPO": {**ON_POLICY, "value_epochs": 1},
    "TRPO-memory": {**ON_POLICY, "value_epochs": 1, "policy": "GRUPolicy", "hidden_sizes": None},
    "DPG": OFF_POLICY,
    "DDPG": OFF_POLICY,
    "DDPG-hindsight": {**OFF_POLICY, "task": "diffsim/ReacherGoal-v0", "goal_strategy": "future"},
    "SVG0": ON_POLICY,
    "TD3": {**OFF_POLICY, "num_steps": 3},
    "SAC": OFF_POLICY,
    "CrossQ": OFF_POLICY,
    "SAC-gymnasium": {**OFF_POLICY, "task": POLE},
    "DQN": {**OFF_POLICY, "task": "CartPole-v1", "critic_hidden_sizes": None},
    "ModelBased": {
        **MODEL,
        "steps_per_iteration": 8,
        "updates_per_iteration": 1,
        "improver_kwargs": "{horizon: 3}",
    },
    "MBPO": {**MODEL, "fit_every": 8, "updates_per_step": 0.5},
    "CEM": SEARCH,
    "StepREPS": {**ON_POLICY, "regression_iterations": 1},
    "PETS": {**MODEL, "steps_per_iteration": 2, "planner_kwargs": PLANNER},
}
"""Runs by the name of their algorithm, and their options."""


WAITS_PER_ITERATION = {
    "BPTT": 2,  # a window's checks and gradient; metrics
    "SHAC": 2,
    "SHAC-noise": 2,
    "SHAC-remat": 2,
    "Pegasus": 16,  # per evaluation of its line search, the checks of a window and three of L-BFGS
    # For each change of a parameter, a roll-out and a comparison.
    "Pegasus-coordinate": 40,
    "BPTT-differences": 200,  # its simulator is C MuJoCo on the CPU
    "Reinforce": 3,  # and whether all episodes have ended, once more if they are longer than the last ones
    # With experience of an environment on the CPU, 3 to 5 more per step.
    "SAC-gymnasium": 21,
    "DQN": 21,
    "PPO-discrete": 13,
    # Two epochs of a fit; the check of the data, and the sizes of their parts; metrics.
    "MBPO": 5,
    "ModelBased": 6,  # and the checks of a window of SHAC
    "PETS": 5,
    # Random numbers, members and their mean cross between CPU and GPU; the ends and the results of episodes; metrics.
    "CEM": 5,
    "StepREPS": 30,  # L-BFGS asks for every value
}
"""Largest number of waits in an iteration after the first, where it is not 1, the read of metrics and checks. On the
device are the experience of our simulator, and what an algorithm learns from."""
