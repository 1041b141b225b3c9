"""Dynamics, reward and termination of an environment, learned, or in part given."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from diffsim.models.data import Data
from diffsim.models.ensemble import GaussianEnsemble, Noise, by_member, ensemble_mlp
from diffsim.models.known import REWARDS, TERMINATIONS, Reward, Termination
from diffsim.models.recurrent import EnsembleGRU
from diffsim.models.statistics import Moments, Statistics


class WorldModel(nn.Module):
    """E members, each a whole model of an environment that is seen through its observations.

        o' = o + m(o, u) + s(o, u) * w        dynamics
        r  = R(o, u, o')                      known, or mean(o, u, o') + std * w
        an episode ends in o'                 known, or where a logit l(o') > 0

    Where observations do not tell the state, a model may remember: with a memory h, empty at first, it predicts by all
    that it has seen of an episode, and its state is (o, h):

        h' = GRU(h, [o, u]),   o' = o + m(o, u, h') + s(o, u, h') * w

    Everything is learned in the units of the data's deviations, set by `see`.

    Args:
        obs_size: O.
        action_size: A.
        num_members: E, at least 1.
        num_elites: how many of them predict, those with the least validation loss; at most E.
        hidden_sizes: widths of the dynamics' hidden layers.
        activation: silu, elu, tanh or relu.
        noise: of the dynamics, see `GaussianEnsemble`.
        memory_size: M, numbers in the memory of a recurrent model, which must have noise; 0 for a Markov model.
        reward: "learned", or the name of a known function in `diffsim.models.known.REWARDS`.
        reward_noise: of a learned reward.
        reward_hidden_sizes: widths of a learned reward's hidden layers.
        termination: "learned", "never", or the name of a known function in `diffsim.models.known.TERMINATIONS`.
        termination_hidden_sizes: widths of a learned termination's hidden layers.

    Attributes:
        elites: int64 [num_elites], the members that predict.
    """

    elites: Tensor

    def __init__(
        self,
        obs_size: int,
        action_size: int,
        *,
        num_members: int = 7,
        num_elites: int = 5,
        hidden_sizes: Sequence[int] = (200, 200),
        activation: str = "silu",
        noise: Noise = "state",
        memory_size: int = 0,
        reward: str | Reward = "learned",
        reward_noise: Noise = "constant",
        reward_hidden_sizes: Sequence[int] = (128, 128),
        termination: str | Termination = "never",
        termination_hidden_sizes: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        if not 1 <= num_elites <= num_members:
            raise ValueError(f"num_elites must be in 1, ..., num_members = {num_members}, got {num_elites}")
        if memory_size < 0 or (memory_size and noise == "none"):
            raise ValueError(f"memory_size must be >= 0, and 0 without noise, got {memory_size} and noise {noise!r}")
        self.obs_size, self.action_size, self.num_members = obs_size, action_size, num_members
        self.memory_size = memory_size
        self.known_reward = known("reward", reward, REWARDS, "learned")
        self.known_termination = known("termination", termination, TERMINATIONS, "learned")
        shared = {"num_members": num_members, "activation": activation}
        seen = obs_size + action_size
        self.dynamics = GaussianEnsemble(seen + memory_size, obs_size, hidden_sizes=hidden_sizes, noise=noise, **shared)
        self.memory = EnsembleGRU(num_members, seen, memory_size) if memory_size else None
        self.reward = self.termination = None
        if self.known_reward is None:
            inputs = 2 * obs_size + action_size
            self.reward = GaussianEnsemble(inputs, 1, hidden_sizes=reward_hidden_sizes, noise=reward_noise, **shared)
        if self.known_termination is None:
            self.termination = ensemble_mlp(num_members, obs_size, termination_hidden_sizes, 1, activation)
        self.register_buffer("elites", torch.arange(num_elites))

    @property
    def noise_size(self) -> int:
        """Numbers of noise that a step's dynamics take: O, or 0."""
        return 0 if self.dynamics.noise == "none" else self.obs_size

    @property
    def reward_noise_size(self) -> int:
        """Numbers of noise that a step's reward takes: 1, or 0."""
        return 0 if self.reward is None or self.reward.noise == "none" else 1

    def set_units(self, data: Data) -> None:
        """Sets the units in which everything is seen to the deviations of `data`.

        Raises: ValueError if the data are of another environment, or there are none.
        """
        self.check(data)
        statistics = Statistics.of(data)
        mean, std = statistics.step_inputs
        none = mean.new_zeros(self.memory_size)  # a memory is seen as it is
        self.dynamics.set_units(Moments(torch.cat([mean, none]), torch.cat([std, none + 1])), statistics.change)
        if self.reward is not None:
            self.reward.set_units(statistics.reward_inputs, statistics.reward)

    def check(self, data: Data) -> None:
        """Raises ValueError if the data's sizes are not the model's: they are of another task."""
        for name, size, got in (
            ("obs", self.obs_size, data.obs.shape[-1]),
            ("action", self.action_size, data.action.shape[-1]),
        ):
            if size != got:
                raise ValueError(f"{name} must have {size} numbers, as the model's task has, got {got}: another task's")

    def remember(self, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor) -> Tensor:
        """The next memory, of `obs` [N, O], `action` [N, A] and the `memory` [N, M] of what came before: [N, M]."""
        if self.memory is None:
            return memory
        x = torch.cat([self.told(torch.cat([obs, action], dim=-1)), memory], dim=-1)
        return by_member(self._remember, x, member, self.num_members)

    def _remember(self, rows: Tensor) -> Tensor:
        """The next memory [E, B, M] from what is told and remembered, [E, B, O + A + M]."""
        assert self.memory is not None
        return self.memory(*rows.split([self.memory.in_size, self.memory_size], dim=-1))

    def told(self, x: Tensor) -> Tensor:
        """Observations and actions [..., O + A] in the units in which they are seen."""
        size = x.shape[-1]
        return (x - self.dynamics.in_mean[:size]) / self.dynamics.in_std[:size]

    def step(self, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the next observation, [N, O] each.

        Args:
            obs: [N, O].
            action: [N, A].
            member: int64 [N].
            memory: [N, M], what `remember` made of them; None for a model without.

        Raises: ValueError if the sizes are another task's, or there is no memory of a model that has one.
        """
        if obs.shape[-1] != self.obs_size or action.shape[-1] != self.action_size:
            raise ValueError(
                f"obs and action must have {self.obs_size} and {self.action_size} numbers, as the model's task has, "
                f"got {obs.shape[-1]} and {action.shape[-1]}"
            )
        size = 0 if memory is None else memory.shape[-1]
        if size != self.memory_size:
            raise ValueError(f"memory must have {self.memory_size} numbers, got {size}")
        parts = [obs, action] if memory is None else [obs, action, memory]
        change, std = self.dynamics.predict(torch.cat(parts, dim=-1), member)
        return obs + change, std

    @torch.no_grad()
    def recall(self, data: Data, index: Tensor, member: Tensor, steps: int = 64) -> Tensor:
        """The memory before transitions of `data`, of what came before them in their episodes.

        Args:
            data: with the whole episodes.
            index: int64 [N], positions of the transitions.
            member: int64 [N].
            steps: at most so many transitions are remembered, at least 0.

        Returns: [N, M].
        """
        memory = data.obs.new_zeros(len(index), self.memory_size)
        if not self.memory_size:
            return memory
        for back in range(steps, 0, -1):
            before = (index - back).clamp_min(0)
            same = (index >= back) & (data.episode[before] == data.episode[index])
            if same.any():
                after = self.remember(data.obs[before], data.action[before], member, memory)
                memory = torch.where(same[:, None], after, memory)
        return memory

    def reward_of(self, obs: Tensor, action: Tensor, next_obs: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and deviation of the reward, [N] each."""
        if self.reward is None:
            assert self.known_reward is not None
            reward = self.known_reward(obs, action, next_obs)
            return reward, torch.zeros_like(reward)
        mean, std = self.reward.predict(torch.cat([obs, action, next_obs], dim=-1), member)
        return mean.squeeze(-1), std.squeeze(-1)

    def ends_in(self, next_obs: Tensor, member: Tensor) -> Tensor:
        """Whether an episode ends in `next_obs` [N, O]: bool [N]."""
        if self.termination is None:
            assert self.known_termination is not None
            return self.known_termination(next_obs)
        return by_member(self.logits, next_obs, member, self.num_members).squeeze(-1) > 0

    def logits(self, next_obs: Tensor) -> Tensor:
        """Log odds of an end in `next_obs` [E, B, O]: [E, B, 1]."""
        assert self.termination is not None
        mean, std = self.dynamics.in_mean[: self.obs_size], self.dynamics.in_std[: self.obs_size]
        return self.termination((next_obs - mean) / std)

    def loss(self, batch: dict[str, Tensor], valid: Tensor) -> Tensor:
        """Mean negative log-likelihood of what happened, in nats per step, of each member on its own windows: [E].

        With H > 1 the dynamics go on from what they predicted themselves, the mean of the step before, so that the
        errors that matter are those that build up; the reward is told the true observations. With a memory, which is
        empty before the first step, the dynamics are told them too: the sum is the likelihood of the whole sequence.

        Args:
            batch: fields of `Data`, [H, E, B, ...].
            valid: bool [H, E, B], which steps count.
        """
        obs, total = batch["obs"][0], torch.zeros_like(batch["reward"])
        memory = obs.new_zeros(*obs.shape[:-1], self.memory_size)
        for time, (action, next_obs) in enumerate(zip(batch["action"], batch["next_obs"], strict=True)):
            x = torch.cat([obs, action], dim=-1)
            if self.memory is not None:
                memory = self.memory(self.told(x), memory)
                x = torch.cat([x, memory], dim=-1)
            total[time] = self.dynamics.nll(x, next_obs - obs)
            if time + 1 < len(valid):
                obs = batch["obs"][time + 1] if self.memory is not None else obs + self.dynamics(x)[0]
        nll = total + self.side_nll(batch)
        return (nll * valid).sum((0, 2)) / valid.sum((0, 2)).clamp_min(1)

    def side_nll(self, batch: dict[str, Tensor]) -> Tensor:
        """Negative log-likelihood of rewards and ends, as far as they are learned, [H, E, B]."""
        shape = batch["reward"].shape
        obs, action, reward, next_obs = (
            batch[name].transpose(0, 1).flatten(1, 2) for name in ("obs", "action", "reward", "next_obs")
        )
        nll = torch.zeros_like(reward)
        if self.reward is not None:
            nll = nll + self.reward.nll(torch.cat([obs, action, next_obs], dim=-1), reward.unsqueeze(-1))
        if self.termination is not None:
            ends = batch["terminated"].transpose(0, 1).flatten(1, 2).to(reward)
            logits = self.logits(next_obs).squeeze(-1)
            nll = nll + binary_cross_entropy_with_logits(logits, ends, reduction="none")
        return nll.unflatten(1, (shape[0], shape[2])).transpose(0, 1)

    def penalty(self) -> Tensor:
        """The sum of what pulls bounds of deviations together, over all members."""
        parts = [self.dynamics] if self.reward is None else [self.dynamics, self.reward]
        return torch.stack([part.bounds_penalty().sum() for part in parts]).sum()


def known(
    option: str, value: str | Callable[..., Tensor], functions: dict[str, Callable[..., Tensor]], learned: str
) -> Callable[..., Tensor] | None:
    """The known function that `value` is or names, or None if it is to be learned.

    Raises: ValueError, with the valid names, if there is none.
    """
    if not isinstance(value, str):
        return value
    if value != learned and value not in functions:
        raise ValueError(f"{option} must be one of {', '.join([learned, *functions])}, got {value!r}")
    return functions.get(value)
