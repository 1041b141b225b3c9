"""The critic of SHAC: a value function for what follows a window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from diffsim.mdp import MDP
from diffsim.policies import ValueMLP
from diffsim.trainers.experience.rollout import Trajectory
from diffsim.trainers.maths.polyak import polyak_update, target_network
from diffsim.trainers.pathwise.value_data import ValueData, add_slopes, join, returns_data, value_loss
from diffsim.trainers.pathwise.window import DifferentiatedWindow


class Critic(nn.Module):
    """V, fitted to the lambda-returns of the latest windows, and V', the target network.

        V     minimise mean_t (V(o_t) - G_t(lam))^2
        V'    V' <- target_rate * V' + (1 - target_rate) * V

    Args:
        value: V.
        gamma: discount, in (0, 1].
        lam: of the lambda-returns that V is fitted to, in [0, 1].
        slope_lam: lambda of the targets for dV/ds, the same as in the actor's objective, in (0, 1].
        terminal: whether V is fitted to 0 in terminal states and its gradient there reaches the actor.
        target_rate: part of V' kept per window, in [0, 1).
        epochs: passes over the data per window.
        windows: number of latest windows in the data.
        minibatches: updates per pass.
        slope_weight: weight of the squared error of dV/ds, see `add_slopes`; 0 for none.

    Attributes:
        latest: the data of those windows, the latest last.
    """

    def __init__(
        self,
        value: ValueMLP,
        *,
        gamma: float,
        lam: float,
        slope_lam: float,
        terminal: bool,
        target_rate: float,
        epochs: int,
        windows: int,
        minibatches: int,
        slope_weight: float,
    ) -> None:
        super().__init__()
        self.value, self.target = value, target_network(value)
        self.gamma, self.lam, self.slope_lam = gamma, lam, slope_lam
        self.terminal, self.target_rate = terminal, target_rate
        self.epochs, self.minibatches, self.slope_weight = epochs, minibatches, slope_weight
        self.latest: deque[ValueData] = deque(maxlen=windows)

    def after(self, trajectory: Trajectory) -> Tensor:
        """V' of the observation that each step reached, [H, N]; 0 in terminal states, with a gradient if `terminal`."""
        value = self.target(trajectory.next_obs)
        dead = value - value.detach() if self.terminal else torch.zeros_like(value)
        return torch.where(trajectory.terminated, dead, value)

    def losses(
        self, mdp: MDP, window: DifferentiatedWindow, generator: torch.Generator
    ) -> Iterator[Callable[[], Tensor]]:
        """Adds a window to the data. Yields for each update of V a function that computes the loss."""
        data = returns_data(window, self.target, self.gamma, self.lam)
        if self.slope_weight > 0:
            data = add_slopes(data, mdp, window, self.gamma, self.slope_lam)
        self.latest.append(data.with_terminal(window) if self.terminal else data)
        data = join(self.latest)
        for _ in range(self.epochs):
            order = torch.randperm(len(data.goal), generator=generator, device=data.goal.device)
            for index in order.chunk(self.minibatches):
                yield partial(value_loss, self.value, mdp, data.batch(index), self.slope_weight)

    def update_target(self) -> None:
        """Moves V' towards V."""
        polyak_update(self.target, self.value, self.target_rate)

    def saved(self) -> list[tuple[Tensor, ...]]:
        """The latest data, for a checkpoint."""
        return [tuple(data) for data in self.latest]

    def load(self, saved: Sequence[Sequence[Tensor]]) -> None:
        """Restores what `saved` returned."""
        device = next(self.value.parameters()).device
        self.latest.extend(ValueData(*(part.to(device) for part in data)) for data in saved)
