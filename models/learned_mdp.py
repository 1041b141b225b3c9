"""A learned model as an MDP."""

from __future__ import annotations

from typing import Literal

import torch
from gymnasium.spaces import Box
from torch import Tensor

from diffsim.checks import check_choice, check_shape, check_values
from diffsim.mdp import MDP
from diffsim.models.data import Data
from diffsim.models.world_model import WorldModel


class LearnedMDP(MDP):
    """N copies of an environment, simulated by a learned model.

        state = [o, k, z, h],   o' = m_k(o, u) + s_k(o, u) * w,   r = R_k(o, u, o') + std * z'

    k is the ensemble member. It is part of the state, so that scenarios determine it. z is the noise of the last
    reward, of models with a noisy reward. h is the memory of a recurrent model; at the start of a roll-out it is
    computed from the episode in the data. Given all noises, a step is a deterministic function, differentiable in
    observation, memory and action.

    Args:
        model: dynamics, reward and termination: a `WorldModel`, or an object with its interface.
        data: roll-outs start from its observations; if None, it must be set before `initial` is called.
        observation_space: of the environment.
        action_space: of the environment.
        num_envs: N, at least 1.
        max_episode_steps: steps after which an episode is truncated, at least 1.
        starts: roll-outs start from "any" observation of the data, or from the first of each episode, "episodes".
        propagation: "tsinf" keeps one member for a whole episode; "ts1" draws a member at every step, by one more
            noise variable.

    Raises: ValueError if the sizes of data or spaces are not the model's, or an argument is out of range.
    Source: Chua et al. (2018), PETS, section 5.1, for the two kinds of propagation.
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
        propagation: Literal["tsinf", "ts1"] = "tsinf",
    ) -> None:
        check_values(">= 1", num_envs=num_envs, max_episode_steps=max_episode_steps)
        check_choice("starts", starts, ("any", "episodes"))
        check_choice("propagation", propagation, ("tsinf", "ts1"))
        check_shape("observation_space", observation_space, (model.obs_size,), ", the model's")
        check_shape("action_space", action_space, (model.action_size,), ", the model's")
        if model.memory_size and propagation == "ts1":
            raise ValueError(
                "propagation must be tsinf for a model with a memory, which belongs to a member, got 'ts1'"
            )
        weight = next(model.parameters())
        self.model, self.starts, self.propagation = model, starts, propagation
        self.num_envs, self.max_episode_steps = num_envs, max_episode_steps
        self.device, self.dtype = weight.device, weight.dtype
        self.observation_space, self.action_space = observation_space, action_space
        self.obs_size = model.obs_size
        self.state_size = self.obs_size + 1 + model.reward_noise_size + model.memory_size
        self.noise_size = model.noise_size + model.reward_noise_size + (propagation == "ts1")
        if data is not None:
            self.data = data

    @property
    def data(self) -> Data:
        """The data whose observations roll-outs start from."""
        return self._data

    @data.setter
    def data(self, data: Data) -> None:
        self.model.check(data)
        if not len(data):
            raise ValueError("data must have >= 1 transition, got 0")
        self._data = data.to(next(self.model.parameters()))

    def initial(self, generator: torch.Generator) -> Tensor:
        """Draws observations of the data, each with one of the elites: [N, S]."""
        if self.starts == "any":
            index = self._integers(len(self.data), generator)
        else:
            first = self.data.episode_starts()
            index = first[self._integers(len(first), generator)]
        member = self.model.elites[self._integers(len(self.model.elites), generator)]
        return self.state(self.data.obs[index], member, self.model.memory_at(self.data, index, member))

    def state(self, obs: Tensor, member: Tensor, memory: Tensor | None = None) -> Tensor:
        """Builds states [N, S].

        Args:
            obs: [N, O].
            member: int64 [N].
            memory: [N, M]; 0 if None.
        """
        rest = obs.new_zeros(len(obs), self.model.reward_noise_size + self.model.memory_size)
        if memory is not None:
            rest = torch.cat([rest[:, : self.model.reward_noise_size], memory], dim=-1)
        return torch.cat([obs, member.to(obs)[:, None], rest], dim=-1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """One step. `noise` [N, W] is standard normal: w, then z, then the variable that draws the member."""
        if self.noise_size:
            check_shape("noise", noise, (len(state), self.noise_size))
        obs, member = state[:, : self.obs_size], self._member(state)
        if self.propagation == "ts1":
            assert noise is not None
            member = self._drawn_member(noise[:, -1])
        memory = self._next_memory(state, action, member)
        mean, std = self.model.step(obs, action, member, memory)
        next_obs = mean if noise is None or not self.model.noise_size else mean + std * noise[:, : self.obs_size]
        parts = [next_obs, member.to(obs)[:, None]]
        if self.model.reward_noise_size:
            assert noise is not None
            parts.append(noise[:, self.model.noise_size : self.model.noise_size + 1])
        return torch.cat(parts if memory is None else [*parts, memory], dim=-1)

    def observation(self, state: Tensor) -> Tensor:
        """The observation in `state` [N, S]: [N, O]."""
        return state[:, : self.obs_size]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Reward predicted by the member that made the step: [N]."""
        obs, next_obs = self.observation(state), self.observation(next_state)
        mean, std = self.model.predict_reward(obs, action, next_obs, self._member(next_state))
        return mean + std * next_state[:, self.obs_size + 1] if self.model.reward_noise_size else mean

    def terminal(self, state: Tensor) -> Tensor:
        """Whether `state` [N, S] is terminal: bool [N]."""
        return self.model.predict_termination(self.observation(state), self._member(state))

    @torch.no_grad()
    def infer_noise(self, state: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor) -> Tensor:
        """The noise with which the model reproduces an observed transition.

            w = (o' - m(o, u)) / s(o, u),   z = (r - R(o, u, o')) / std

        Args:
            state: [N, S].
            action: [N, A].
            next_obs: [N, O].
            reward: [N].

        Returns: [N, W].
        Raises: ValueError if the dynamics have no noise, or propagation is ts1.
        Source: Heess et al. (2015), "Learning continuous control policies by stochastic value gradients", section 4.
        """
        if not self.model.noise_size or self.propagation == "ts1":
            raise ValueError(
                "to infer noise, the dynamics must have noise and propagation must be tsinf, "
                f"got noise of size {self.model.noise_size} and propagation {self.propagation}"
            )
        obs, member = self.observation(state), self._member(state)
        mean, std = self.model.step(obs, action, member, self._next_memory(state, action, member))
        parts = [(next_obs - mean) / std]
        if self.model.reward_noise_size:
            mean, std = self.model.predict_reward(obs, action, next_obs, member)
            parts.append(((reward - mean) / std)[:, None])
        return torch.cat(parts, dim=-1)

    def _next_memory(self, state: Tensor, action: Tensor, member: Tensor) -> Tensor | None:
        """The memory after `state` [N, S] and `action` [N, A]: [N, M]; None for a Markov model."""
        if not self.model.memory_size:
            return None
        memory = state[:, -self.model.memory_size :]
        return self.model.next_memory(self.observation(state), action, member, memory)

    def _member(self, state: Tensor) -> Tensor:
        return state[:, self.obs_size].detach().long()

    def _drawn_member(self, noise: Tensor) -> Tensor:
        """Maps standard normal numbers [N] to elites with equal probabilities: int64 [N]."""
        count = len(self.model.elites)
        return self.model.elites[(torch.special.ndtr(noise) * count).long().clamp(max=count - 1)]

    def _integers(self, below: int, generator: torch.Generator) -> Tensor:
        return torch.randint(below, (self.num_envs,), generator=generator, device=self.device)
