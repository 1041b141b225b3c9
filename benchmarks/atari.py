"""Atari: frames per second of PPO's loop beside Stable-Baselines3's, with equal settings, in turns in one process.

    python -m benchmarks.atari --game Pong --rounds 3

Both play 8 copies with the preprocessing of Mnih et al. (2015), and learn with CleanRL's settings of PPO. Ours has
separate networks for policy and value, Stable-Baselines3 has one network with two heads. The ratio of each round is
that of its two parts, which follow each other at once: other load on the machine changes both. The loop "learning" has
4 passes of 4 updates over each 1,024 steps, "acting" one pass of one update.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.command import arguments_of, make_parser, page, paragraphs, parse, positive, table
from diffsim.policies import CategoricalMLP
from diffsim.policies.encoder import NATURE_CONVOLUTIONS
from diffsim.trainers.experience.atari import register_games
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.likelihood_ratio.ppo import PPO

NUM_ENVS, HORIZON, FRAMES = 8, 128, 4
LOOPS = {"learning": {"epochs": 4, "minibatches": 4}, "acting": {"epochs": 1, "minibatches": 1}}
"""Passes and updates per pass; both libraries need at least one."""


def our_loop(game: str, epochs: int, minibatches: int) -> Callable[[], Any]:
    """One iteration of our PPO."""
    env = make_env(f"ALE/{game}-v5", NUM_ENVS, repeat_action_probability=0.0)
    sizes: dict[str, Any] = {"convolutions": NATURE_CONVOLUTIONS, "hidden_sizes": (512,), "activation": "relu"}
    spaces: tuple[Any, Any] = (env.single_observation_space, env.single_action_space)
    policy = CategoricalMLP(*spaces, **sizes)
    options: dict[str, Any] = {"horizon": HORIZON, "epochs": epochs, "minibatches": minibatches}
    algorithm = PPO(env, policy, value_hidden_sizes=(512,), normalize_reward=False, **options)
    return algorithm.iterate


def their_loop(game: str, epochs: int, minibatches: int) -> Callable[[], Any]:
    """One iteration of Stable-Baselines3's PPO, in its own environments."""
    register_games()
    env_util: Any = importlib.import_module("stable_baselines3.common.env_util")
    vec_env: Any = importlib.import_module("stable_baselines3.common.vec_env")
    sb3: Any = importlib.import_module("stable_baselines3")
    kwargs = {"frameskip": 1, "repeat_action_probability": 0.0}
    wrappers = {"terminal_on_life_loss": False}
    env = env_util.make_atari_env(f"ALE/{game}-v5", NUM_ENVS, seed=0, env_kwargs=kwargs, wrapper_kwargs=wrappers)
    env, size = vec_env.VecFrameStack(env, 4), NUM_ENVS * HORIZON // minibatches
    agent = sb3.PPO("CnnPolicy", env, n_steps=HORIZON, n_epochs=epochs, batch_size=size, device="cpu")
    return lambda: agent.learn(NUM_ENVS * HORIZON, reset_num_timesteps=False)


def rate(iteration: Callable[[], Any]) -> float:
    """Frames per second of one iteration."""
    began = time.perf_counter()
    iteration()
    return NUM_ENVS * HORIZON * FRAMES / (time.perf_counter() - began)


def measure(game: str, rounds: int) -> list[list[str]]:
    """One row per loop: medians of both rates, and of their ratio with its range."""
    rows = []
    for name, passes in LOOPS.items():
        ours, theirs = our_loop(game, **passes), their_loop(game, **passes)
        for iteration in (ours, theirs):
            rate(iteration)  # the first allocates
        rates = np.array([[rate(ours), rate(theirs)] for _ in range(rounds)])
        ratio = rates[:, 0] / rates[:, 1]
        middle = np.median(rates, axis=0)
        spread = f"{np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f})"
        rows.append([name, f"{middle[0]:,.0f}", f"{middle[1]:,.0f}", spread])
        print(*rows[-1], flush=True)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measures, and writes the page."""
    parser = make_parser("atari", __doc__)
    parser.add_argument("--game", default="Pong")
    parser.add_argument("--rounds", type=positive(int), default=3)
    options = parse(parser, arguments)
    torch.manual_seed(0)
    rows = measure(options.game, options.rounds)
    header = "loop | frames/s: | Stable-Baselines3, frames/s: | ratio, median (range):"
    text = page(
        "Atari: frames per second",
        f"atari {arguments_of(options, 'game', 'rounds')}",
        *paragraphs(__doc__)[2:],
        table(header, rows),
    )
    (options.output / "atari.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
