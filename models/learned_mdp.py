"""A learned model behind the interface of every world."""

from __future__ import annotations

from typing import Literal

import torch
from gymnasium.spaces import Box
from torch import Tensor

from diffsim.mdp import MDP
from diffsim.models.data import Data
from diffsim.models.world_model import WorldModel


class LearnedMDP(MDP):
    """N imagined copies of the environment that a model was fitted to.

        state = [o, member, z, h],   o' = m_k(o, u) + s_k(o, u) * w,   r = R_k(o, u, o') + std * z'

    The member k is part of the state, drawn with it, so that scenarios fix it: one that is held for an episode is one
    consistent world. z is the noise of the reward that led here, where the reward has any; h is the memory of a model
    that has one, at a start what the episode in the data left there. Given noises, everything is a deterministic
    function, differentiable in observations, memories and actions.

    Args:
        model: dynamics, reward and termination.
        data: from whose observations imagined episodes start; None if it is to be set before `initial` is called.
        observation_space: of the environment.
        action_space: of the environment.
        num_envs: N, at least 1.
        max_episode_steps: steps after which an imagined episode is cut short, at least 1.
        starts: "any" observation of the data, or the first of each episode, "episodes".
        member: how long a copy keeps one: for an "episode", or for a "step" (one number more of noise chooses it).

    Raises: ValueError if the data or spaces are of another task than the model, or an argument is out of range.
    """

    def __init__(
        self,
        model: WorldModel,
        data: Data | None,
        observation_space: Box,
        action_space: Box,
        *,
        num_envs: int = 64,
        max_episode_steps: int = 1000,
        starts: Literal["any", "episodes"] = "any",
        member: Literal["episode", "step"] = "episode",
    ) -> None:
        for name, count in {"num_envs": num_envs, "max_episode_steps": max_episode_steps}.items():
            if count < 1:
                raise ValueError(f"{name} must be >= 1, got {count}")
        for name, value, valid in (("starts", starts, ("any", "episodes")), ("member", member, ("episode", "step"))):
            if value not in valid:
                raise ValueError(f"{name} must be one of {', '.join(valid)}, got {value!r}")
        for name, space, size in (
            ("observation_space", observation_space, model.obs_size),
            ("action_space", action_space, model.action_size),
        ):
            if space.shape != (size,):
                raise ValueError(f"{name} must have {size} numbers, as the model's task has, got {space.shape}")
        if model.memory_size and member == "step":
            raise ValueError("member must be episode for a model with a memory, which is its member's own, got 'step'")
        weight = model.dynamics.in_mean
        self.model, self.starts, self.member = model, starts, member
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.device, self.dtype = weight.device, weight.dtype
        self.observation_space, self.action_space = observation_space, action_space
        self.obs_size = model.obs_size
        self.state_size = self.obs_size + 1 + model.reward_noise_size + model.memory_size
        self.noise_size = model.noise_size + model.reward_noise_size + (member == "step")
        if data is not None:
            self.data = data

    @property
    def data(self) -> Data:
        """What imagined episodes start from."""
        return self._data

    @data.setter
    def data(self, data: Data) -> None:
        self.model.check(data)
        if not len(data):
            raise ValueError("data must have >= 1 transition, got 0")
        self._data = data.to(self.model.dynamics.in_mean)

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws observations of the data, and a member of the elites for each: [N, S]."""
        if self.starts == "any":
            index = self._integers(len(self.data), generator)
        else:
            first = self.data.episode_starts()
            index = first[self._integers(len(first), generator)]
        member = self.model.elites[self._integers(len(self.model.elites), generator)]
        return self.state(self.data.obs[index], member, self.model.recall(self.data, index, member))

    def state(self, obs: Tensor, member: Tensor, memory: Tensor | None = None) -> Tensor:
        """The state of copies that are seen as they are, and remember nothing if that is not said: [N, S].

        Args:
            obs: [N, O].
            member: int64 [N], their worlds.
            memory: [N, M].
        """
        rest = obs.new_zeros(len(obs), self.model.reward_noise_size + self.model.memory_size)
        if memory is not None:
            rest = torch.cat([rest[:, : self.model.reward_noise_size], memory], dim=-1)
        return torch.cat([obs, member.to(obs)[:, None], rest], dim=-1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Imagines one step. `noise`: [N, W] standard normal: w, then z, then what chooses the member."""
        if self.noise_size and (noise is None or noise.shape != (len(state), self.noise_size)):
            got = None if noise is None else list(noise.shape)
            raise ValueError(f"noise must have shape {[len(state), self.noise_size]}, got {got}")
        obs, member = state[:, : self.obs_size], self._member(state)
        if self.member == "step":
            assert noise is not None
            member = self._chosen_by(noise[:, -1])
        memory = self._remembered(state, action, member)
        mean, std = self.model.step(obs, action, member, memory)
        next_obs = mean if noise is None or not self.model.noise_size else mean + std * noise[:, : self.obs_size]
        parts = [next_obs, member.to(obs)[:, None]]
        if self.model.reward_noise_size:
            assert noise is not None
            parts.append(noise[:, self.model.noise_size : self.model.noise_size + 1])
        return torch.cat(parts if memory is None else [*parts, memory], dim=-1)

    def observation(self, state: Tensor) -> Tensor:
        """What is seen of `state` [N, S]: [N, O]."""
        return state[:, : self.obs_size]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward by the member that made the step: [N]."""
        obs, next_obs = self.observation(state), self.observation(next_state)
        mean, std = self.model.reward_of(obs, action, next_obs, self._member(next_state))
        return mean + std * next_state[:, self.obs_size + 1] if self.model.reward_noise_size else mean

    def terminal(self, state: Tensor) -> Tensor:
        """Whether an episode ends in `state` [N, S]: bool [N]."""
        return self.model.ends_in(self.observation(state), self._member(state))

    @torch.no_grad()
    def infer_noise(self, state: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """The noise with which the model does what was observed.

            w = (o' - m(o, u)) / s(o, u),   z = (r - R(o, u, o')) / std

        Args:
            state: [N, S].
            action: [N, A].
            next_obs: [N, O].
            reward: [N].

        Returns: [N, W].
        Raises: ValueError if the dynamics have no noise, or each step another member.
        Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", section 4.
        """
        if not self.model.noise_size or self.member == "step":
            raise ValueError(
                "the model must have noise state or constant, and keep its member for an episode, to infer noise; "
                f"got noise {self.model.dynamics.noise} and member {self.member}"
            )
        obs, member = self.observation(state), self._member(state)
        mean, std = self.model.step(obs, action, member, self._remembered(state, action, member))
        parts = [(next_obs - mean) / std]
        if self.model.reward_noise_size:
            mean, std = self.model.reward_of(obs, action, next_obs, member)
            parts.append(((reward - mean) / std)[:, None])
        return torch.cat(parts, dim=-1)

    def _remembered(self, state: Tensor, action: Tensor, member: Tensor) -> Tensor | None:
        """The memory after `state` [N, S] and `action` [N, A] are seen: [N, M]; None for a model without."""
        if not self.model.memory_size:
            return None
        memory = state[:, -self.model.memory_size :]
        return self.model.remember(self.observation(state), action, member, memory)

    def _member(self, state: Tensor) -> Tensor:
        return state[:, self.obs_size].detach().long()

    def _chosen_by(self, noise: Tensor) -> Tensor:
        """Turns normal numbers [N] into members, each of the elites as likely: int64 [N]."""
        count = len(self.model.elites)
        return self.model.elites[(torch.special.ndtr(noise) * count).long().clamp(max=count - 1)]

    def _integers(self, below: int, generator: torch.Generator) -> Tensor:
        return torch.randint(below, (self.num_envs,), generator=generator, device=self.device)
