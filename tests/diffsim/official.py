"""Gymnasium's official environments as the reference for tasks."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv

# Every option of every task away from its default at least once.
SETTINGS: list[tuple[str, dict[str, Any]]] = [
    ("InvertedPendulum-v5", {}),
    ("InvertedPendulum-v5", {"frame_skip": 3, "reset_noise_scale": 0.15}),
    ("InvertedDoublePendulum-v5", {}),
    ("InvertedDoublePendulum-v5", {"frame_skip": 2, "healthy_reward": 3.0, "reset_noise_scale": 0.3}),
    ("Reacher-v5", {}),
    ("Reacher-v5", {"frame_skip": 4, "reward_dist_weight": 2.0, "reward_control_weight": 0.1}),
    ("Swimmer-v5", {}),
    (
        "Swimmer-v5",
        {
            "frame_skip": 2,
            "forward_reward_weight": 3.0,
            "ctrl_cost_weight": 0.1,
            "reset_noise_scale": 0.4,
            "exclude_current_positions_from_observation": False,
        },
    ),
    ("Swimmer-v5", {"xml_file": "inverted_double_pendulum.xml"}),
]
SETTING_NAMES = [f"{id}-{'-'.join(options) or 'default'}" for id, options in SETTINGS]


def official(id: str, **options: Any) -> MujocoEnv:
    """The official environment, without wrappers."""
    env = gymnasium.make(id, **options).unwrapped
    assert isinstance(env, MujocoEnv)
    return env


@dataclass
class Transitions:
    """T transitions of an official environment; state is [qpos, qvel]."""

    state: np.ndarray
    action: np.ndarray
    next_state: np.ndarray
    obs: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray


def random_transitions(env: MujocoEnv, count: int, seed: int = 0) -> Transitions:
    """Transitions by uniform random actions, some beyond the action space, in episodes cut after 1 to 50
    steps.

    Carts start anywhere on their rail, so that they also meet its ends.
    """
    rng = np.random.default_rng(seed)
    low, high = env.action_space.low.astype(float), env.action_space.high.astype(float)
    rows = []
    left = 0
    while len(rows) < count:
        if left == 0:
            env.reset(seed=int(rng.integers(2**31)))
            if "pendulum" in env.fullpath:
                qpos = env.data.qpos.copy()
                qpos[0] = rng.uniform(-1.02, 1.02)
                env.set_state(qpos, env.data.qvel * 5)
            left = int(rng.integers(1, 51))
        state = np.concatenate([env.data.qpos, env.data.qvel])
        action = 1.2 * rng.uniform(low, high)
        obs, reward, terminated, _, _ = env.step(action)
        rows.append((state, action, np.concatenate([env.data.qpos, env.data.qvel]), obs, reward, terminated))
        left = 0 if terminated else left - 1
    return Transitions(*(np.array(column) for column in zip(*rows, strict=True)))


def step_from(env: MujocoEnv, state: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Observation and reward after one step from a state [nq + nv], as one vector [O + 1]."""
    env.reset(seed=0)
    env.set_state(*np.split(state, [env.model.nq]))
    obs, reward, *_ = env.step(action)
    return np.append(obs, reward)
