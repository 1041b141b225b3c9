"""Markov decision processes with their randomness as arguments: the interface of tasks and learned models."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import gymnasium
import torch
from torch import Tensor

from diffsim.checks import check_values


class MDP(ABC):
    """N copies of one Markov decision process, as five stateless functions.

        s' = f(s, u, w)    transition        r = R(s, u, s')    reward
        o  = h(s)          observation       s0 ~ p0            initial

    Simulated tasks and learned models have the same methods, so an algorithm runs on either. Every method
    takes and returns tensors of `dtype` on `device`, one row per copy, and changes nothing in place.
    `transition`, `observation` and `reward` are differentiable in their float arguments.

    Attributes:
        num_envs: number of copies, N.
        device: device of states, and of the generators passed to `initial`.
        dtype: floating type of states, observations and rewards.
        state_size: S. The state of a simulated task is `[qpos, qvel, act]`, then the quantities of the last
            physics step that its observation or reward reads.
        noise_size: W, process noise per step and copy; 0 if the dynamics are deterministic.
        max_episode_steps: steps after which an episode is truncated (a time-out, not a terminal state).
        observation_space: of one copy, as Gymnasium's environment has it.
        action_space: of one copy. Actions are in its units and bounds, as `env.step` takes them. Where it is a Tuple or
            a Dict, an action has the numbers of its parts in one row (`action_parts`).
        position_indices: indices of the observed numbers that are positions, not velocities or forces; empty if the
            MDP does not say.
    """

    num_envs: int
    device: torch.device
    dtype: torch.dtype
    state_size: int
    noise_size: int = 0
    max_episode_steps: int
    observation_space: gymnasium.spaces.Box
    action_space: gymnasium.spaces.Box
    position_indices: Sequence[int] = ()

    @abstractmethod
    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws an initial state for every copy: [N, S]. `generator` is on `device`."""

    @abstractmethod
    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Advances every copy by one step.

        Args:
            state: [N, S].
            action: [N, A], in the units of `action_space`.
            noise: [N, W] standard normal, or None where `noise_size` is 0.

        Returns: next state, [N, S].
        """

    @abstractmethod
    def observation(self, state: Tensor) -> Tensor:
        """The policy's input in `state` [N, S]: [N, O]."""

    def hidden(self, state: Tensor) -> Tensor:
        """What `observation` hides of `state` [N, S], for a value function in training: [N, K]; K = 0 by default."""
        return state[:, :0]

    @abstractmethod
    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward of the step from `state` [N, S] with `action` [N, A] to `next_state` [N, S]: [N]."""

    @abstractmethod
    def terminal(self, state: Tensor) -> Tensor:
        """Whether an episode ends in `state` [N, S]: bool [N]. Time-outs are not terminal."""


def action_parts(space: gymnasium.Space) -> list[gymnasium.Space]:
    """The parts of a Tuple or Dict space of actions, in order, or the space itself.

    The action of an MDP has their numbers in one row: A of a Box [A], one of a Discrete space.

    Raises: ValueError if a part is neither a vector Box nor Discrete.
    """
    if isinstance(space, gymnasium.spaces.Tuple | gymnasium.spaces.Dict):
        parts = space.spaces.values() if isinstance(space, gymnasium.spaces.Dict) else space.spaces
        return [leaf for part in parts for leaf in action_parts(part)]
    vector = isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1
    if not vector and not isinstance(space, gymnasium.spaces.Discrete):
        raise ValueError(f"parts of action_space must be vector Box or Discrete, got {space}")
    return [space]


def action_size(space: gymnasium.Space) -> int:
    """A, the numbers of an MDP's action."""
    return sum((part.shape or (1,))[0] for part in action_parts(space))


@dataclass(frozen=True)
class Scenarios:
    """Every random number of a batch of roll-outs, drawn once.

    Given scenarios, a roll-out is a deterministic function of the policy's parameters, and two policies can be
    compared under the same random numbers.

    Attributes:
        initial: [N, S], initial state of each copy.
        resets: [R, N, S], states to reset to. After its k-th end copy n starts from `resets[k % R, n]`.
        process_noise: [H, N, W] standard normal, for `MDP.transition`.
        action_noise: [H, N, Z] standard normal, for the policy.

    Source: Ng & Jordan (2000), PEGASUS, section 3.
    """

    initial: Tensor
    resets: Tensor
    process_noise: Tensor
    action_noise: Tensor

    @classmethod
    def draw(
        cls,
        mdp: MDP,
        horizon: int,
        generator: torch.Generator,
        *,
        action_noise_size: int = 0,
        num_resets: int = 4,
    ) -> Scenarios:
        """Draws initial states, reset states and noises for `horizon` steps of every copy.

        Args:
            mdp: the process that will be rolled out.
            horizon: H, at least 1.
            generator: source of all randomness, on `mdp.device`.
            action_noise_size: Z, noise numbers that the policy takes per step.
            num_resets: R, at least 1. A copy that ends more often reuses its reset states.

        Raises: ValueError if a count is out of range.
        """
        check_values(">= 1", horizon=horizon, num_resets=num_resets)
        check_values(">= 0", action_noise_size=action_noise_size)

        def noise(size: int) -> Tensor:
            shape = (horizon, mdp.num_envs, size)
            return torch.randn(shape, generator=generator, device=mdp.device, dtype=mdp.dtype)

        return cls(
            initial=mdp.initial(generator),
            resets=torch.stack([mdp.initial(generator) for _ in range(num_resets)]),
            process_noise=noise(mdp.noise_size),
            action_noise=noise(action_noise_size),
        )

    @property
    def horizon(self) -> int:
        """Number of steps with noise, H."""
        return self.process_noise.shape[0]

    def starting_from(self, state: Tensor) -> Scenarios:
        """The same noises and resets with `state` [N, S], detached, as initial state."""
        return replace(self, initial=state.detach())
