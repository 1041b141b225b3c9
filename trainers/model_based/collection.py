"""Collection of transitions in a real environment, as data for a model."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from gymnasium.spaces import Space
from torch import Tensor

from diffsim.models import Data, from_windows
from diffsim.policies import ClipBox, GaussianMLP, Policy
from diffsim.trainers.experience.device_collection import collect_on_device, stays_on_device
from diffsim.trainers.experience.remembering import Remembering
from diffsim.trainers.experience.rollout import Actor, Trajectory, collect
from diffsim.trainers.experience.vector_env import ResumableEnv


class UniformActor:
    """Chooses uniformly random actions within their bounds.

        u = low + (high - low) * Phi(z),   z ~ N(0, I)

    Args:
        action_space: bounded Box of floats with A numbers.
        like: a tensor with the device and floating type of the actions.

    Raises: TypeError or ValueError if the space is another one.
    """

    def __init__(self, action_space: Space, like: Tensor) -> None:
        self.bounds = ClipBox(action_space).to(like)
        self.low, self.width = self.bounds.low, self.bounds.high - self.bounds.low
        self.noise_size = self.bounds.size

    def __call__(self, obs: Tensor, noise: Tensor | None) -> Tensor:
        """Actions [N, A] from standard normal `noise` [N, A], independent of `obs`."""
        assert noise is not None
        return self.bounds.clamp(self.low + self.width * torch.special.ndtr(noise))

    def log_prob(self, obs: Tensor, action: Tensor) -> Tensor:
        """Log density of `action` [..., A]: minus the log volume of the action space, [...]."""
        return torch.full_like(action[..., 0], -math.log(float(self.width.double().prod())))


def collect_data(
    env: ResumableEnv,
    actor: UniformActor | Policy,
    steps: int,
    generator: torch.Generator,
    like: Tensor,
    *,
    deterministic: bool = False,
) -> tuple[Data, Trajectory]:
    """Takes `steps` env steps over all copies, rounded up to a multiple of N.

    Args:
        env: N copies, which continue from their current states.
        actor: chooses the actions.
        steps: at least 1.
        generator: of the actor's noise, on the device of `like`.
        like: a tensor with the device and floating type of the data.
        deterministic: take mean actions, without noise.

    Returns: the transitions, with the log densities of the actions if the actor has a density, and the trajectory.
    """
    horizon = -(-steps // env.num_envs)
    shape = (horizon, env.num_envs, 0 if deterministic else actor.noise_size)
    noise = torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)
    acting: Actor = actor
    if isinstance(actor, Policy) and actor.recurrent:
        acting = Remembering(actor, actor.initial_memory(env.num_envs))
    if stays_on_device(env):
        trajectory = collect_on_device(env, acting, noise)
    else:
        trajectory, _ = collect(env, acting, env.obs, noise)
    density: Callable[[Tensor, Tensor], Tensor] | None = None
    if isinstance(actor, UniformActor | GaussianMLP) and not deterministic:
        density = actor.log_prob
    with torch.no_grad():
        log_prob = None if density is None else density(trajectory.obs, trajectory.action)
    obs, action, reward, next_obs, terminated, truncated = trajectory
    return from_windows(obs, action, reward, next_obs, terminated, truncated, log_prob), trajectory
