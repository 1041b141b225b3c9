"""CartPoleSwingUp-v0: swing a pole on a cart up, and balance it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.options import option
from diffsim.tasks.task import Task

CART_MARGIN = 2.0
"""Distance of the cart from the middle at which its factor's variable part is 0.1, m."""
VELOCITY_MARGIN = 5.0
"""Angular velocity of the pole at which its factor's variable part is 0.1, rad/s."""


class CartPoleSwingUp(Task):
    """Swing up a pole that hangs from a cart, and balance it in the middle of the rail, by pushing the cart.

    Observation: cart x (m), cosine and sine of the pole's angle from upright, cart velocity (m/s), angular velocity
    (rad/s). Never terminal; an episode is 10 s. Reward of a step, smooth and in [0, 1], after it:

        r = (1 + cos theta) / 2 * (1 + 0.1^((x / 2)^2)) / 2 * (1 + 0.1^((omega / 5)^2)) / 2 * (4 + max(0, 1 - u^2)) / 5

    Solved: a mean return of at least 200 in evaluated episodes of 250 steps, 0.8 of the upper bound. With this reward
    the best published agents reach 0.86 to 0.88 of the bound, because the pole must first swing up; energy shaping by
    hand reaches 0.74, and a pole that is not kept upright less than half. Its environment on C MuJoCo is
    `diffsim.cart_pole_env.CartPoleSwingUpEnv`.

    Source: Tassa et al. (2018), "DeepMind Control Suite", cartpole swingup: dimensions, masses, reward and start are
    theirs; here an action lasts four physics steps in place of one.
    """

    max_episode_steps = 250
    position_indices = (0, 1, 2)

    xml_file = Path(__file__).with_name("cart_pole_swing_up.xml")
    frame_skip = 4
    reset_noise_scale: float = option("standard deviation of the normal noise on qpos and qvel at reset.", default=0.01)

    def setup(self) -> None:
        """Makes the position at reset."""
        super().setup()
        self.start_position = torch.tensor([0.0, torch.pi], dtype=self.dtype, device=self.device)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The cart in the middle, the pole hanging, both nearly at rest."""
        qpos = self.start_position + self.normal(2, self.reset_noise_scale, generator)
        return qpos, self.normal(2, self.reset_noise_scale, generator)

    def observation(self, state: Tensor) -> Tensor:
        """Cart, direction of the pole, velocities: [N, 5]."""
        qpos, qvel, _ = self.split(state)
        cart, theta = qpos.split(1, dim=1)
        return torch.cat([cart, theta.cos(), theta.sin(), qvel], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The product above, [N]."""
        cart, theta, _, velocity = next_state.unbind(1)
        upright = (1 + theta.cos()) / 2
        centered = (1 + 0.1 ** (cart / CART_MARGIN).square()) / 2
        still = (1 + 0.1 ** (velocity / VELOCITY_MARGIN).square()) / 2
        calm = (4 + (1 - action[:, 0].square()).clamp_min(0)) / 5
        return upright * centered * still * calm
