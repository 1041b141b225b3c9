"""RllabCartPole-v0: keep a pole on a cart upright."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from diffsim.tasks.rllab.rod_task import RodTask, box_mass_and_inertia

FORCE = 10.0
"""Largest force on the cart, N."""


class CartWithPole(RodTask):
    """A cart on a rail, pushed with up to 10 N for 0.05 s, with a pole that turns freely.

    Observation: cart x (m) and velocity (m/s), the pole's angle from upright (rad) and angular velocity (rad/s);
    positive angles lean towards negative x. `random_model=True` draws the pole's length in [0.5, 1.5) m.

    Where the physics differ from Box2D's: an action is two semi-implicit Euler steps of 0.025 s in place of one of
    0.05 s. A reset in rllab moves the cart but not the pole, and in the paper's version the track lies 0.53 m below the
    cart; Box2D brings the bodies together in the first step, which turns the pole. Here they start together, with the
    angle that was drawn.

    Attributes:
        start, spread: middle and half-width of the uniform cart x, velocity, angle, angular velocity at reset.
        max_distance: of the cart from the middle of the rail, at which an episode ends, m.
    """

    start: ClassVar[tuple[float, ...]]
    spread: ClassVar[tuple[float, ...]]
    max_distance: ClassVar[float]
    rods = ("pole",)
    nominal_lengths = (1.0,)
    position_indices = (0, 2)

    xml_file = Path(__file__).with_name("cart_pole.xml")
    frame_skip = 2

    def setup(self) -> None:
        """Makes the middle and the half-width of the states at reset."""
        super().setup()
        self._start, self._spread = (
            torch.tensor(part, dtype=self.dtype, device=self.device) for part in (self.start, self.spread)
        )

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Uniform positions and velocities."""
        drawn = self._start + self._spread * self.uniform(4, 1.0, generator)
        return drawn[:, ::2], drawn[:, 1::2]

    def random_lengths(self, generator: torch.Generator) -> Tensor:
        """Length of the pole, uniform in [0.5, 1.5): [N, 1] m."""
        return 1.0 + self.uniform(1, 0.5, generator)

    def mass_and_inertia(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of a pole 0.1 m wide with 1 kg/m^2."""
        return box_mass_and_inertia(lengths, density=1.0, width=0.1)

    def observation(self, state: Tensor) -> Tensor:
        """Cart x, its velocity, the pole's angle, its angular velocity: [N, 4]."""
        qpos, qvel, _ = self.split(state)
        return torch.stack([qpos[:, 0], qvel[:, 0], qpos[:, 1], qvel[:, 1]], dim=1)

    @abstractmethod
    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """See the task."""

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the cart is too far from the middle: bool [N]."""
        return state[:, 0].abs() > self.max_distance


class RllabCartPole(CartWithPole):
    """Keep a pole on a cart upright by pushing the cart: "cart-pole balancing".

    Observation: cart x (m) and velocity (m/s), the pole's angle from upright (rad) and angular velocity (rad/s).
    Reward of a step, after it, with the force u (N):

        r = 10 - (1 - cos theta) - 1e-5 u^2, and 0 if the state is terminal

    Terminal: |x| > 2.4 or |theta| > 0.2. An episode starts with uniform x, velocity, angle and angular velocity within
    5% of 2.4 m, 4 m/s, 0.2 rad and 4 rad/s. Physics and differences from rllab: see `CartWithPole`.

    Uniform random actions reach 77.2, and 77.1 in the paper. Single Euler steps of 0.05 s would give 75.0, exact
    integration 79.5; rllab's model in Box2D gives 76.9 +- 0.1 as it was when the paper appeared (commit 450f0f7), and
    65.6 with the track at the cart's height, since June 2016.

    Source: rllab, envs/box2d/cartpole_env.py and its model, whose dimensions are those here.
    """

    start = (0.0, 0.0, 0.0, 0.0)
    spread = (0.12, 0.2, 0.01, 0.2)
    max_distance = 2.4
    max_angle = 0.2

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The sum above, [N]."""
        cost = (1 - next_state[:, 1].cos()) + 1e-5 * FORCE**2 * self.squared_action(action)
        return (10 - cost) * ~self.terminal(next_state)

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the cart is too far from the middle, or the pole leans too far: bool [N]."""
        return super().terminal(state) | (state[:, 1].abs() > self.max_angle)
