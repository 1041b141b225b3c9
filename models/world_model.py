"""A model of the dynamics, reward and termination of an environment, learned except for known functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from diffsim.checks import check_choice, require
from diffsim.models.data import Data
from diffsim.models.ensemble import GaussianEnsemble, Noise, by_member, ensemble_mlp
from diffsim.models.known import REWARDS, TERMINATIONS, Reward, Termination
from diffsim.models.recurrent import EnsembleGRU
from diffsim.models.statistics import Moments, Statistics


class WorldModel(nn.Module):
    """An ensemble of E members, each a complete model of an environment in terms of its observations.

        o' = o + m(o, u) + s(o, u) * w        dynamics, w ~ N(0, I)
        r  = R(o, u, o')                      known, or mean(o, u, o') + std * w
        termination in o'                     known, or where a logit l(o') > 0

    For a partially observed environment the model can be recurrent. A memory h, 0 at the start of an episode,
    summarises the past observations and actions, and the state of the model is (o, h):

        h' = GRU(h, [o, u]),   o' = o + m(o, u, h') + s(o, u, h') * w

    All inputs and outputs are normalised by the statistics of the training data, see `set_units`.

    Args:
        obs_size: O.
        action_size: A.
        num_members: E, at least 1.
        num_elites: number of members used for prediction, those with the lowest validation loss; at most E.
        hidden_sizes: widths of the hidden layers of the dynamics.
        activation: silu, elu, tanh or relu.
        noise: of the dynamics: state, constant or none, see `GaussianEnsemble`.
        memory_size: M, size of the memory of a recurrent model, which must have noise; 0 for a Markov model.
        reward: "learned", or the name of a known function in `diffsim.models.known.REWARDS`.
        reward_noise: of a learned reward: state, constant or none.
        reward_hidden_sizes: widths of the hidden layers of a learned reward.
        termination: "learned", "never", or the name of a known function in `diffsim.models.known.TERMINATIONS`.
        termination_hidden_sizes: widths of the hidden layers of a learned termination.

    Attributes:
        elites: int64 [num_elites], the members used for prediction.
        dynamics_class: class of the dynamics; a subclass of `WorldModel` can replace it.
    """

    elites: Tensor
    dynamics_class: ClassVar[type[GaussianEnsemble]] = GaussianEnsemble

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
        require(1 <= num_elites <= num_members, "num_elites", f"in 1, ..., num_members = {num_members}", num_elites)
        if memory_size < 0 or (memory_size and noise == "none"):
            raise ValueError(f"memory_size must be >= 0, and 0 without noise, got {memory_size} and noise {noise!r}")
        self.obs_size, self.action_size, self.num_members = obs_size, action_size, num_members
        self.memory_size = memory_size
        self.known_reward = known_function("reward", reward, REWARDS)
        self.known_termination = known_function("termination", termination, TERMINATIONS)
        shared = {"num_members": num_members, "activation": activation}
        in_size = obs_size + action_size
        self.dynamics = self.dynamics_class(
            in_size + memory_size, obs_size, hidden_sizes=hidden_sizes, noise=noise, **shared
        )
        self.memory = EnsembleGRU(num_members, in_size, memory_size) if memory_size else None
        self.reward = self.termination = None
        if self.known_reward is None:
            inputs = 2 * obs_size + action_size
            self.reward = GaussianEnsemble(inputs, 1, hidden_sizes=reward_hidden_sizes, noise=reward_noise, **shared)
        if self.known_termination is None:
            self.termination = ensemble_mlp(num_members, obs_size, termination_hidden_sizes, 1, activation)
        self.register_buffer("elites", torch.arange(num_elites))

    @property
    def noise_size(self) -> int:
        """Size of the noise of the dynamics per step: O, or 0."""
        return 0 if self.dynamics.noise == "none" else self.obs_size

    @property
    def reward_noise_size(self) -> int:
        """Size of the noise of the reward per step: 1, or 0."""
        return 0 if self.reward is None or self.reward.noise == "none" else 1

    def set_units(self, data: Data) -> None:
        """Sets the normalisation of all inputs and outputs to the statistics of `data`.

        Raises: ValueError if the sizes of the data are not the model's, or there are no data.
        """
        self.check(data)
        statistics = Statistics.of(data)
        mean, std = statistics.step_inputs
        none = mean.new_zeros(self.memory_size)  # the memory is not normalised
        self.dynamics.set_units(Moments(torch.cat([mean, none]), torch.cat([std, none + 1])), statistics.change)
        if self.reward is not None:
            self.reward.set_units(statistics.reward_inputs, statistics.reward)

    def check(self, data: Data) -> None:
        """Raises ValueError if the observations or actions of `data` have other sizes than the model's."""
        for name, size, values in (("obs", self.obs_size, data.obs), ("action", self.action_size, data.action)):
            if size != (got := values.shape[-1]):
                rule = f"must have size {size}, that of the model"
                raise ValueError(f"{name} {rule}, got {got}: the data are of another task")

    def next_memory(self, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor) -> Tensor:
        """Updates `memory` [N, M] by `obs` [N, O] and `action` [N, A]: [N, M]."""
        if self.memory is None:
            return memory
        x = torch.cat([self.normalised_inputs(torch.cat([obs, action], dim=-1)), memory], dim=-1)
        return by_member(self._next_memory, x, member, self.num_members)

    def _next_memory(self, rows: Tensor) -> Tensor:
        """The next memory [E, B, M] from normalised inputs and memory, [E, B, O + A + M]."""
        assert self.memory is not None
        return self.memory(*rows.split([self.memory.in_size, self.memory_size], dim=-1))

    def normalised_inputs(self, x: Tensor) -> Tensor:
        """Normalises observations and actions [..., O + A]."""
        size = x.shape[-1]
        return (x - self.dynamics.in_mean[:size]) / self.dynamics.in_std[:size]

    def step(self, obs: Tensor, action: Tensor, member: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the next observation, [N, O] each.

        Args:
            obs: [N, O].
            action: [N, A].
            member: int64 [N].
            memory: [N, M], returned by `next_memory` for the same `obs` and `action`; None for a Markov model.

        Raises: ValueError if a size is not the model's.
        """
        if obs.shape[-1] != self.obs_size or action.shape[-1] != self.action_size:
            raise ValueError(
                f"obs and action must have the model's sizes {self.obs_size} and {self.action_size}, "
                f"got {obs.shape[-1]} and {action.shape[-1]}"
            )
        size = 0 if memory is None else memory.shape[-1]
        if size != self.memory_size:
            raise ValueError(f"memory must have size {self.memory_size}, got {size}")
        parts = [obs, action] if memory is None else [obs, action, memory]
        change, std = self.dynamics.predict(torch.cat(parts, dim=-1), member)
        return obs + change, std

    @torch.no_grad()
    def memory_at(self, data: Data, index: Tensor, member: Tensor, steps: int = 64) -> Tensor:
        """The memory at the start of transitions of `data`, from the previous transitions of their episodes.

        Args:
            data: complete episodes.
            index: int64 [N], positions of the transitions.
            member: int64 [N].
            steps: largest number of previous transitions to use, at least 0.

        Returns: [N, M].
        """
        memory = data.obs.new_zeros(len(index), self.memory_size)
        if not self.memory_size:
            return memory
        for back in range(steps, 0, -1):
            before = (index - back).clamp_min(0)
            same = (index >= back) & (data.episode[before] == data.episode[index])
            if same.is_cuda or same.any():  # to ask a GPU costs more
                after = self.next_memory(data.obs[before], data.action[before], member, memory)
                memory = torch.where(same[:, None], after, memory)
        return memory

    def predict_reward(self, obs: Tensor, action: Tensor, next_obs: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the reward, [N] each."""
        if self.reward is None:
            assert self.known_reward is not None
            reward = self.known_reward(obs, action, next_obs)
            return reward, torch.zeros_like(reward)
        mean, std = self.reward.predict(torch.cat([obs, action, next_obs], dim=-1), member)
        return mean.squeeze(-1), std.squeeze(-1)

    def predict_termination(self, next_obs: Tensor, member: Tensor) -> Tensor:
        """Whether `next_obs` [N, O] is terminal: bool [N]."""
        if self.termination is None:
            assert self.known_termination is not None
            return self.known_termination(next_obs)
        return by_member(self.termination_logits, next_obs, member, self.num_members).squeeze(-1) > 0

    def termination_logits(self, next_obs: Tensor) -> Tensor:
        """Log-odds that `next_obs` [E, B, O] is terminal: [E, B, 1]."""
        assert self.termination is not None
        mean, std = self.dynamics.in_mean[: self.obs_size], self.dynamics.in_std[: self.obs_size]
        return self.termination((next_obs - mean) / std)

    def loss(self, batch: dict[str, Tensor], valid: Tensor) -> Tensor:
        """Mean negative log-likelihood of windows of data, in nats per step, of each member on its own windows: [E].

        With H > 1, the dynamics predict from their own mean prediction of the previous step, so that the loss contains
        the errors that accumulate; the reward takes the true observations. With a memory, which is 0 before the first
        step, the dynamics take the true observations too, and the sum is the likelihood of the sequence.

        Args:
            batch: fields of `Data`, [H, E, B, ...].
            valid: bool [H, E, B], the steps that count.
        """
        obs, total = batch["obs"][0], torch.zeros_like(batch["reward"])
        memory = obs.new_zeros(*obs.shape[:-1], self.memory_size)
        for time, (action, next_obs) in enumerate(zip(batch["action"], batch["next_obs"], strict=True)):
            x = torch.cat([obs, action], dim=-1)
            if self.memory is not None:
                memory = self.memory(self.normalised_inputs(x), memory)
                x = torch.cat([x, memory], dim=-1)
            total[time] = self.dynamics.nll(x, next_obs - obs)
            if time + 1 < len(valid):
                obs = batch["obs"][time + 1] if self.memory is not None else obs + self.dynamics(x)[0]
        nll = total + self.reward_and_termination_nll(batch)
        return (nll * valid).sum((0, 2)) / valid.sum((0, 2)).clamp_min(1)

    def reward_and_termination_nll(self, batch: dict[str, Tensor]) -> Tensor:
        """Negative log-likelihood of rewards and terminations, of those that are learned: [H, E, B]."""
        shape = batch["reward"].shape
        obs, action, reward, next_obs = (
            batch[name].transpose(0, 1).flatten(1, 2) for name in ("obs", "action", "reward", "next_obs")
        )
        nll = torch.zeros_like(reward)
        if self.reward is not None:
            nll = nll + self.reward.nll(torch.cat([obs, action, next_obs], dim=-1), reward.unsqueeze(-1))
        if self.termination is not None:
            terminated = batch["terminated"].transpose(0, 1).flatten(1, 2).to(reward)
            logits = self.termination_logits(next_obs).squeeze(-1)
            nll = nll + binary_cross_entropy_with_logits(logits, terminated, reduction="none")
        return nll.unflatten(1, (shape[0], shape[2])).transpose(0, 1)

    def penalty(self) -> Tensor:
        """Sum over all members of the penalties on the bounds of the standard deviations."""
        parts = [self.dynamics] if self.reward is None else [self.dynamics, self.reward]
        return torch.stack([part.bounds_penalty().sum() for part in parts]).sum()


def known_function(
    option: str, value: str | Callable[..., Tensor], functions: dict[str, Callable[..., Tensor]]
) -> Callable[..., Tensor] | None:
    """The function `value`, or the known function of that name; None for "learned".

    Raises: ValueError, with the valid names, if there is no such function.
    """
    if not isinstance(value, str):
        return value
    check_choice(option, value, ["learned", *functions])
    return functions.get(value)
