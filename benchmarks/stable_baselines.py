"""One training run of Stable-Baselines3 or sb3-contrib, judged as `benchmarks.ours` judges ours.

It stands alone, so that it runs where Stable-Baselines3 is installed and this package is not. Its last line of output
is a JSON list, with an object for each budget.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from typing import Any

import gymnasium
import numpy as np

MODULES = {"PPO": "stable_baselines3", "A2C": "stable_baselines3", "TRPO": "sb3_contrib"}
STEPS = {"PPO": 256, "A2C": 5, "TRPO": 256}
"""Steps of each copy between updates: those of ours."""


def main() -> None:
    """Trains, judges, and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--algorithm", choices=MODULES, required=True)
    parser.add_argument("--budgets", nargs="+", type=int, required=True)
    for name in ("num_envs", "seed", "episodes", "first_episode"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    env_util: Any = importlib.import_module("stable_baselines3.common.env_util")
    vec_env: Any = importlib.import_module("stable_baselines3.common.vec_env")
    env = vec_env.VecNormalize(env_util.make_vec_env(options.task, options.num_envs, seed=options.seed))
    cls = getattr(importlib.import_module(MODULES[options.algorithm]), options.algorithm)
    agent = cls("MlpPolicy", env, n_steps=STEPS[options.algorithm], seed=options.seed, device="cpu")
    found, seconds = [], 0.0
    for budget in sorted(options.budgets):
        began = time.perf_counter()
        agent.learn(budget - agent.num_timesteps, reset_num_timesteps=not found)
        seconds += time.perf_counter() - began
        returns = [episode(options.task, agent, env, options.first_episode + i) for i in range(options.episodes)]
        counts = {"env_steps": int(agent.num_timesteps), "seconds": seconds}
        found.append({"mean": float(np.mean(returns)), "std": float(np.std(returns)), **counts})
    print(json.dumps(found))


def episode(task: str, agent: Any, statistics: Any, seed: int) -> float:
    """Undiscounted return of the mean action, over one official episode."""
    env = gymnasium.make(task)
    obs, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        action, _ = agent.predict(statistics.normalize_obs(obs), deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    return total


if __name__ == "__main__":
    main()
