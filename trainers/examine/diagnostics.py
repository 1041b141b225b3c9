"""Prediction errors, calibration, and policy gradients of a learned model."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.models import Data, LearnedMDP, WorldModel
from diffsim.policies import Policy
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.maths.estimators import pathwise_objective

LEVELS = torch.linspace(0.05, 0.95, 19)
"""Nominal coverages of the predictive intervals that are checked."""


class Growth(NamedTuple):
    """Errors of open-loop predictions, by horizon.

    Attributes:
        error: [H], rms error of the elites' mean prediction over windows and dimensions, in standard deviations of the
            observations.
        low: [H], lowest error of a single elite.
        high: [H], highest error of a single elite.
        no_change: [H], error of the prediction that nothing changes, as a baseline.
        windows: number of windows.
    """

    error: Tensor
    low: Tensor
    high: Tensor
    no_change: Tensor
    windows: int


class Calibration(NamedTuple):
    """Coverage of predictive intervals.

    Attributes:
        level: [L], nominal coverage.
        coverage: [L, O], measured coverage.
        expected_error: mean of |coverage - level| over levels and dimensions.
        nll: mean negative log-likelihood of the next observation, in nats per step, of the elites' mixture.
    """

    level: Tensor
    coverage: Tensor
    expected_error: float
    nll: float


def elite_predictions(model: WorldModel, data: Data) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the next observation by each elite, [K, M, O] each, for all transitions of `data`.

    The memory of a recurrent model is computed from the previous transitions of the episode.
    """
    index, parts = torch.arange(len(data), device=data.obs.device), []
    for k in model.elites:
        member = torch.full_like(index, int(k))
        memory = next_memory(model, data.obs, data.action, member, model.memory_at(data, index, member))
        parts.append(model.step(data.obs, data.action, member, memory))
    mean, std = map(torch.stack, zip(*parts, strict=True))
    return mean, std


def next_memory(model: WorldModel, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor) -> Tensor | None:
    """The memory [N, M] after `obs` [N, O] and `action` [N, A]; None for a Markov model."""
    return model.next_memory(obs, action, member, memory) if model.memory_size else None


@torch.no_grad()
def open_loop(model: WorldModel, data: Data, horizon: int, count: int, generator: torch.Generator) -> Growth:
    """Predicts along recorded actions, each elite from its own mean predictions, and measures the errors.

    Args:
        model: to examine.
        data: validation transitions.
        horizon: H; reduced to the length of the longest episode.
        count: number of windows, drawn with replacement.
        generator: draws the windows; on the CPU.
    """
    while not len(data.starts(horizon)):
        horizon -= 1
    starts = data.starts(horizon)
    start = starts[torch.randint(len(starts), (count,), generator=generator).to(starts.device)]
    window, _ = data.sequences(start, horizon)
    scale = data.obs.std(0, correction=0).clamp_min(1e-12)
    members = [torch.full_like(start, int(k)) for k in model.elites]
    current = [window["obs"][0] for _ in members]
    memories = [model.memory_at(data, start, member) for member in members]
    rows = []
    for action, truth in zip(window["action"], window["next_obs"], strict=True):
        for k, member in enumerate(members):
            memory = next_memory(model, current[k], action, member, memories[k])
            current[k] = model.step(current[k], action, member, memory)[0]
            memories[k] = memories[k] if memory is None else memory
        predictions = torch.stack([*current, torch.stack(current).mean(0), window["obs"][0]])
        rows.append(((predictions - truth) / scale).square().mean((1, 2)).sqrt())
    table = torch.stack(rows)
    own = table[:, :-2]
    return Growth(table[:, -2], own.amin(1), own.amax(1), table[:, -1], count)


@torch.no_grad()
def calibration(model: WorldModel, data: Data) -> Calibration | None:
    """Measures the coverage of one-step intervals of the elites' mixture on `data`. None for a model without noise.

    The interval of level p goes from the quantile (1 - p) / 2 of the mixture to the quantile (1 + p) / 2.

    Source: Kuleshov, Fenner & Ermon (2018), "Accurate uncertainties for deep learning using calibrated regression".
    """
    if not model.noise_size:
        return None
    mean, std = elite_predictions(model, data)
    # The quantile of the true value in the mixture is uniform if the model is correct.
    quantile = torch.special.ndtr((data.next_obs - mean) / std).mean(0)
    level = LEVELS.to(quantile)
    inside = (quantile - 0.5).abs() <= level[:, None, None] / 2
    coverage = inside.to(quantile).mean(1)
    log_density = torch.distributions.Normal(mean, std).log_prob(data.next_obs).sum(-1)
    nll = -(log_density.logsumexp(0) - torch.log(torch.tensor(float(len(mean))))).mean()
    return Calibration(level, coverage, float((coverage - level[:, None]).abs().mean()), float(nll))


class Alignment(NamedTuple):
    """Policy gradients through a model and through the simulator, by horizon.

    Attributes:
        horizon: lengths of the roll-outs.
        cosine: between the two gradients, means over N roll-outs with the same start states and action noise.
        floor: cosine between two simulator gradients of N / 2 roll-outs each: the effect of sampling alone.
        ratio: gradient norm through the model divided by that through the simulator.
    """

    horizon: list[int]
    cosine: list[float]
    floor: list[float]
    ratio: list[float]

    @property
    def flat(self) -> bool:
        """Whether the simulator's gradient is zero at every horizon, so that nothing can be compared."""
        return all(math.isnan(floor) for floor in self.floor)


def gradient_alignment(
    mdp: MDP, learned: LearnedMDP, policy: Policy, horizons: list[int], gamma: float, generator: torch.Generator
) -> Alignment:
    """Compares the gradients of the mean discounted return of first episodes, for each horizon.

    Args:
        mdp: the simulator, N copies, whose observations determine its states.
        learned: the model, N copies.
        policy: the gradient is taken by its parameters.
        horizons: lengths of the roll-outs.
        gamma: discount, in (0, 1].
        generator: of start states and noises, on the MDPs' device.

    Raises: ValueError if the two differ in number of copies or in observation size.
    """
    if (mdp.num_envs, mdp.observation_space.shape) != (learned.num_envs, learned.observation_space.shape):
        raise ValueError(
            "mdp and learned must have the same number of copies and the same observation size, "
            f"got {mdp.num_envs} and {learned.num_envs}, {mdp.observation_space} and {learned.observation_space}"
        )
    longest, half = max(horizons), mdp.num_envs // 2
    true = Scenarios.draw(mdp, longest, generator, action_noise_size=policy.noise_size, num_resets=1)
    drawn = Scenarios.draw(learned, longest, generator, num_resets=1)
    start = learned.state(mdp.observation(true.initial).to(learned.dtype), drawn.initial[:, learned.obs_size].long())
    imagined = Scenarios(start, start[None], drawn.process_noise, true.action_noise.to(learned.dtype))
    found = Alignment([], [], [], [])
    for horizon in horizons:
        real, first, second = (
            policy_gradient(mdp, policy, cut(true, horizon), gamma, part)
            for part in (slice(None), slice(half), slice(half, None))
        )
        ours = policy_gradient(learned, policy, cut(imagined, horizon), gamma, slice(None))
        found.horizon.append(horizon)
        found.cosine.append(cosine(ours, real))
        found.floor.append(cosine(first, second))
        found.ratio.append(float(ours.norm() / real.norm()) if real.any() else float("nan"))
    return found


def cosine(first: Tensor, second: Tensor) -> float:
    """Cosine of the angle between two vectors [D]; nan if one is zero."""
    norms = first.norm() * second.norm()
    return float(first @ second / norms) if norms > 0 else float("nan")


def cut(scenarios: Scenarios, horizon: int) -> Scenarios:
    """Truncates scenarios to `horizon` steps."""
    noise, action_noise = scenarios.process_noise[:horizon], scenarios.action_noise[:horizon]
    return Scenarios(scenarios.initial, scenarios.resets, noise, action_noise)


def policy_gradient(mdp: MDP, policy: Policy, scenarios: Scenarios, gamma: float, part: slice) -> Tensor:
    """Gradient of the mean return of the first episodes of the copies `part`, flattened: [D]."""
    trajectory, _ = rollout(mdp, policy, scenarios)
    value = pathwise_objective(trajectory.reward, trajectory.ended, gamma)[part].mean()
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(p).flatten() for p in parameters])
    gradient = torch.autograd.grad(value, parameters, materialize_grads=True)
    return torch.cat([g.flatten() for g in gradient])


def doubling(longest: int) -> list[int]:
    """1, 2, 4, ..., and `longest`."""
    found = [1]
    while found[-1] * 2 <= longest:
        found.append(found[-1] * 2)
    return found if found[-1] == longest else [*found, longest]
