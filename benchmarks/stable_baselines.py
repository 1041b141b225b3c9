"""One training run of Stable-Baselines3 or sb3-contrib, evaluated in the same episodes as ours.

It imports nothing of this package, so it runs where only Stable-Baselines3 is installed. Its last line of output is a
JSON list, with an object for each budget.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from typing import Any

import gymnasium
import numpy as np

EPISODES, FIRST_EPISODE = 10, 1_000_000
"""Number of official episodes after training, and the seed of the first: the defaults of `diffsim fit`."""
STEPS = {"PPO": 256, "A2C": 5, "TRPO": 256}
"""Steps of each copy between updates, as in ours."""
OFF_POLICY = {"DDPG": 1e-3, "TD3": 1e-3, "SAC": 3e-4}
"""Learning rates of the algorithms with a replay buffer."""


def main() -> None:
    """Trains, evaluates, and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--algorithm", choices=[*STEPS, *OFF_POLICY], required=True)
    parser.add_argument("--budgets", type=json.loads, required=True, help="a list of env steps, as JSON")
    parser.add_argument("--num_envs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--warmup_steps", type=int, default=0)
    parser.add_argument("--learning_rate", type=float, help="in place of the default")
    parser.add_argument("--time_updates", action="store_true", help="time as many updates as each line of input says")
    options = parser.parse_args()
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(1)
    agent, env = make_agent(options)
    if options.time_updates:
        time_updates(agent, max(options.budgets))
        return
    found, seconds = [], 0.0
    for budget in sorted(options.budgets):
        began = time.perf_counter()
        agent.learn(budget - agent.num_timesteps, reset_num_timesteps=not found)
        seconds += time.perf_counter() - began
        returns = [episode(options.task, agent, env, FIRST_EPISODE + i) for i in range(EPISODES)]
        counts = {"env_steps": int(agent.num_timesteps), "seconds": seconds}
        found.append({"mean": float(np.mean(returns)), "std": float(np.std(returns)), **counts})
    print(json.dumps(found))


def make_agent(options: argparse.Namespace) -> tuple[Any, Any]:
    """The agent, and its environment; None in place of the environment if observations are not normalised."""
    env_util: Any = importlib.import_module("stable_baselines3.common.env_util")
    vec_env: Any = importlib.import_module("stable_baselines3.common.vec_env")
    package = "sb3_contrib" if options.algorithm == "TRPO" else "stable_baselines3"
    cls = getattr(importlib.import_module(package), options.algorithm)
    env = env_util.make_vec_env(options.task, options.num_envs, seed=options.seed)
    if options.algorithm not in OFF_POLICY:
        env = vec_env.VecNormalize(env)
        settings: dict[str, Any] = {"n_steps": STEPS[options.algorithm]}
        if options.learning_rate is not None:
            settings["learning_rate"] = options.learning_rate
        return cls("MlpPolicy", env, seed=options.seed, device="cpu", **settings), env
    settings = {"learning_rate": OFF_POLICY[options.algorithm], "batch_size": 256}
    settings |= {"learning_starts": options.warmup_steps, "policy_kwargs": {"net_arch": [256, 256]}}
    if options.algorithm != "SAC":
        noise: Any = importlib.import_module("stable_baselines3.common.noise")
        size = env.action_space.shape[0]
        settings["action_noise"] = noise.NormalActionNoise(np.zeros(size), 0.1 * np.ones(size))
    return cls("MlpPolicy", env, seed=options.seed, device="cpu", **settings), None


def time_updates(agent: Any, env_steps: int) -> None:
    """Fills the replay buffer with random steps; then prints the CPU seconds of as many updates as each line says."""
    agent.learning_starts = env_steps
    agent.learn(env_steps)
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.process_time()
        agent.train(int(line), batch_size=256)
        print(time.process_time() - began, flush=True)


def episode(task: str, agent: Any, statistics: Any, seed: int) -> float:
    """Undiscounted return of the mean actions in one official episode."""
    env = gymnasium.make(task)
    obs, _ = env.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        features = obs if statistics is None else statistics.normalize_obs(obs)
        action, _ = agent.predict(features, deterministic=True)
        obs, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + float(reward), terminated or truncated
    return total


if __name__ == "__main__":
    main()
