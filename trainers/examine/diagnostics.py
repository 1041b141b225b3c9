"""How well a model predicts, how well it knows that, and whether the policy gradient through it points right."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffsim.mdp import MDP, Scenarios
from diffsim.models import Data, LearnedMDP, WorldModel
from diffsim.policies import Policy
from diffsim.trainers.experience.rollout import rollout
from diffsim.trainers.maths.estimators import pathwise_objective

LEVELS = torch.linspace(0.05, 0.95, 19)
"""Nominal coverage of the intervals that are checked."""


class Growth(NamedTuple):
    """Error of open-loop predictions, by horizon.

    Attributes:
        error: [H], rms over windows and dimensions of the elites' mean prediction, in deviations of the observations.
        low: [H], the least of the elites' own errors.
        high: [H], the largest.
        standstill: [H], error of predicting that nothing changes: what a model must beat.
        windows: number of windows.
    """

    error: Tensor
    low: Tensor
    high: Tensor
    standstill: Tensor
    windows: int


class Calibration(NamedTuple):
    """How often the truth lies within predictive intervals.

    Attributes:
        level: [L], nominal coverage.
        coverage: [L, O], what was found.
        expected_error: mean over levels and dimensions of |coverage - level|.
        nll: mean negative log-likelihood of the next observation, in nats per step, of the elites' mixture.
    """

    level: Tensor
    coverage: Tensor
    expected_error: float
    nll: float


def elite_predictions(model: WorldModel, data: Data) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the next observation by each elite, [K, M, O] both, for every transition of `data` [M].

    A model with a memory is told what came before in the episode.
    """
    index, parts = torch.arange(len(data), device=data.obs.device), []
    for k in model.elites:
        member = torch.full_like(index, int(k))
        memory = remembered(model, data.obs, data.action, member, model.recall(data, index, member))
        parts.append(model.step(data.obs, data.action, member, memory))
    mean, std = map(torch.stack, zip(*parts, strict=True))
    return mean, std


def remembered(model: WorldModel, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor) -> Tensor | None:
    """The memory [N, M] after `obs` [N, O] and `action` [N, A]; None for a model without."""
    return model.remember(obs, action, member, memory) if model.memory_size else None


@torch.no_grad()
def open_loop(model: WorldModel, data: Data, horizon: int, count: int, generator: torch.Generator) -> Growth:
    """Predicts ahead along recorded actions, each elite from its own mean predictions, and compares.

    Args:
        model: to examine.
        data: held back.
        horizon: H; lower if no episode is so long.
        count: windows, drawn with replacement.
        generator: of their choice, on the CPU.
    """
    while not len(data.starts(horizon)):
        horizon -= 1
    starts = data.starts(horizon)
    start = starts[torch.randint(len(starts), (count,), generator=generator).to(starts.device)]
    window, _ = data.sequences(start, horizon)
    scale = data.obs.std(0, correction=0).clamp_min(1e-12)
    members = [torch.full_like(start, int(k)) for k in model.elites]
    current = [window["obs"][0] for _ in members]
    memories = [model.recall(data, start, member) for member in members]
    rows = []
    for action, truth in zip(window["action"], window["next_obs"], strict=True):
        for k, member in enumerate(members):
            memory = remembered(model, current[k], action, member, memories[k])
            current[k] = model.step(current[k], action, member, memory)[0]
            memories[k] = memories[k] if memory is None else memory
        guesses = torch.stack([*current, torch.stack(current).mean(0), window["obs"][0]])
        rows.append(((guesses - truth) / scale).square().mean((1, 2)).sqrt())
    table = torch.stack(rows)
    own = table[:, :-2]
    return Growth(table[:, -2], own.amin(1), own.amax(1), table[:, -1], count)


@torch.no_grad()
def calibration(model: WorldModel, data: Data) -> Calibration | None:
    """Checks one-step intervals of the elites' mixture on `data`. None for a model without noise.

    An interval of level p is centred: from the quantile (1 - p) / 2 of the mixture to (1 + p) / 2.

    Source: Kuleshov, Fenner & Ermon (2018), "Accurate uncertainties for deep learning using calibrated regression".
    """
    if model.dynamics.noise == "none":
        return None
    mean, std = elite_predictions(model, data)
    # The truth's own quantile in the mixture: uniform, if the model is right.
    quantile = torch.special.ndtr((data.next_obs - mean) / std).mean(0)
    level = LEVELS.to(quantile)
    inside = (quantile - 0.5).abs() <= level[:, None, None] / 2
    coverage = inside.to(quantile).mean(1)
    log_density = torch.distributions.Normal(mean, std).log_prob(data.next_obs).sum(-1)
    nll = -(log_density.logsumexp(0) - torch.log(torch.tensor(float(len(mean))))).mean()
    return Calibration(level, coverage, float((coverage - level[:, None]).abs().mean()), float(nll))


class Alignment(NamedTuple):
    """The policy gradient through a model beside that through the simulator, by horizon.

    Attributes:
        horizon: lengths of the roll-outs.
        cosine: between the two, the mean over N roll-outs each, from the same start states on the same action noise.
        floor: between two means of N / 2 through the simulator: what other noises alone do.
        ratio: norm through the model over norm through the simulator.
    """

    horizon: list[int]
    cosine: list[float]
    floor: list[float]
    ratio: list[float]


def gradient_alignment(
    mdp: MDP, learned: LearnedMDP, policy: Policy, horizons: list[int], gamma: float, generator: torch.Generator
) -> Alignment:
    """Compares the gradient of the mean discounted return of first episodes, horizon by horizon.

    Args:
        mdp: the simulator, N copies, whose observations determine its states.
        learned: the model, N copies.
        policy: whose parameters are differentiated.
        horizons: lengths of the roll-outs.
        gamma: discount, in (0, 1].
        generator: of start states and noises, on the MDPs' device.

    Raises: ValueError if the two differ in number of copies or in their observations.
    """
    if (mdp.num_envs, mdp.observation_space.shape) != (learned.num_envs, learned.observation_space.shape):
        raise ValueError(
            "mdp and learned must have as many copies, and observations of one size, "
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
    """Of the angle between two vectors [D]; nan if one is zero."""
    norms = first.norm() * second.norm()
    return float(first @ second / norms) if norms > 0 else float("nan")


def cut(scenarios: Scenarios, horizon: int) -> Scenarios:
    """The first `horizon` steps of the same scenarios."""
    noise, action_noise = scenarios.process_noise[:horizon], scenarios.action_noise[:horizon]
    return Scenarios(scenarios.initial, scenarios.resets, noise, action_noise)


def policy_gradient(mdp: MDP, policy: Policy, scenarios: Scenarios, gamma: float, part: slice) -> Tensor:
    """Gradient of the mean return of the first episodes of some copies, all parameters in one row, [D]."""
    trajectory, _ = rollout(mdp, policy, scenarios)
    value = pathwise_objective(trajectory.reward, trajectory.ended, gamma)[part].mean()
    parameters = [p for p in policy.parameters() if p.requires_grad]
    if not value.requires_grad:
        return torch.cat([torch.zeros_like(p).flatten() for p in parameters])
    slope = torch.autograd.grad(value, parameters, materialize_grads=True)
    return torch.cat([g.flatten() for g in slope])


def doubling(longest: int) -> list[int]:
    """1, 2, 4, ..., and the longest itself."""
    found = [1]
    while found[-1] * 2 <= longest:
        found.append(found[-1] * 2)
    return found if found[-1] == longest else [*found, longest]
