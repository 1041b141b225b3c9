"""Predicts a pendulum whose velocity is not observed, by a model with a memory and by one without.

Gymnasium's Pendulum-v1 is observed as [cos, sin], without its angular velocity, under random torques. Both models are
ensembles of Gaussian perceptrons on the same data. One of them also has a recurrent unit as input, and is fitted by the
likelihood of sequences. Both are evaluated on test episodes, at every step after the first ten: by the mean negative
log-likelihood of the next observation, and by the open-loop error after ten steps, in standard deviations of the
observations.

    python -m examples.partial_observation
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor

from diffsim.models import Data, ModelFit, WorldModel
from diffsim.trainers.experience.vector_env import make_env
from diffsim.trainers.model_based.collection import UniformActor, collect_data

PAST, AHEAD, SEQUENCE = 10, 10, 20


def partly_observed(steps: int, seed: int) -> Data:
    """Transitions of Pendulum-v1 under random actions, without the velocity."""
    env = make_env("Pendulum-v1", 4, seed=seed)
    actor = UniformActor(env.single_action_space, torch.zeros(1))
    data, _ = collect_data(env, actor, steps, torch.Generator().manual_seed(seed), torch.zeros(1))
    return replace(data, obs=data.obs[:, :2], next_obs=data.next_obs[:, :2])


def fitted(data: Data, memory_size: int, epochs: int, seed: int) -> WorldModel:
    """A model fitted to the data; without a memory if `memory_size` is 0."""
    torch.manual_seed(seed)
    sizes = {"num_members": 3, "num_elites": 3, "hidden_sizes": (64,), "memory_size": memory_size}
    model = WorldModel(2, 1, reward="Pendulum-v1", **sizes)
    train, validation = data.split(0.2, torch.Generator().manual_seed(seed))
    horizon, batch_size = (SEQUENCE, 32) if memory_size else (1, 128)
    sizes = {"horizon": horizon, "batch_size": batch_size, "max_epochs": epochs, "learning_rate": 3e-3}
    ModelFit(model, train, validation, torch.Generator().manual_seed(seed), **sizes).run()
    return model


@torch.no_grad()
def errors(model: WorldModel, data: Data) -> tuple[float, float]:
    """Negative log-likelihood of the next observation, and open-loop error after AHEAD steps, of member 0."""
    scale = data.obs.std(0)
    start = data.starts(PAST + AHEAD) + PAST
    index = start[data.episode[start - PAST] == data.episode[start]]
    member = torch.zeros_like(index)
    memory, obs = model.memory_at(data, index, member), data.obs[index]
    nats = torch.zeros(())
    for time in range(AHEAD):
        action = data.action[index + time]
        memory = model.next_memory(obs, action, member, memory)
        mean, std = model.step(obs, action, member, memory if model.memory_size else None)
        if time == 0:
            log_density: Tensor = torch.distributions.Normal(mean, std).log_prob(data.next_obs[index])
            nats = -log_density.sum(-1).mean()
        obs = mean
    error = (obs - data.next_obs[index + AHEAD - 1]) / scale
    return float(nats), float(error.square().mean().sqrt())


def main(arguments: list[str] | None = None) -> None:
    """Fits both models, and prints one line for each."""
    about = (__doc__ or "").split("\n\n")
    parser = argparse.ArgumentParser(prog="python -m examples.partial_observation", description=about[0])
    parser.add_argument("--steps", type=int, default=6000, help="env steps of training data")
    parser.add_argument("--epochs", type=int, default=25, help="largest number of epochs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data, test = (partly_observed(options.steps, seed) for seed in (options.seed, options.seed + 1))
    print(f"{'model':<16} {'nats per step':>13} {f'error after {AHEAD}':>15}")
    for name, memory_size in (("without memory", 0), ("with memory", 32)):
        model = fitted(data, memory_size, options.epochs, options.seed)
        nats, error = errors(model, test)
        print(f"{name:<16} {nats:>13.2f} {error:>15.3f}", flush=True)


if __name__ == "__main__":
    main()
