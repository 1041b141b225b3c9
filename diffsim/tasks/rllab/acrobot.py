"""RllabAcrobot-v0: swing up two links by a torque between them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffsim.tasks.rllab.rod_task import RodTask, box_mass_and_inertia

ANGLE_NOISE, VELOCITY_NOISE = 0.1, 0.01
"""Standard deviations of the links' angles and angular velocities at reset."""


class RllabAcrobot(RodTask):
    """Swing up a double pendulum of length l = 1 m per link by a torque of up to 50 N m between the links.

    Observation: sine and cosine of the first link's angle from hanging and its angular velocity (rad/s), then those of
    the second link; angles and velocities of both are in the world. Reward of a step, after it: minus the distance of
    the tip to (0, 2 l). Rllab computes the tip's x with the wrong sign of the second link, and so does this task:

        x = l sin theta_1 - l sin theta_2,    z = -l cos theta_1 - l cos theta_2

    Never terminal. An episode starts with both links hanging, angles N(0, 0.1) and angular velocities N(0, 0.01). An
    action lasts 0.02 s. `random_model=True` draws l in [0.5, 1.5) m for both links.

    Where the physics differ from Box2D's: an action is eight semi-implicit Euler steps of 0.0025 s in place of two of
    0.01 s, and both joints have a damping of 0.1 N m s. Box2D's solver loses energy: under a constant torque of 50 N m
    the links turn at 114 rad/s against each other there, and at 183 rad/s here, without end without damping.

    Uniform random actions reach -1294 +- 4, and -1302 +- 7 in rllab's model in Box2D; in 100 steps -292 +- 1 and
    -288 +- 2. The paper's -1904.5 and -393.2 fit a far weaker torque: 3 N m, the bound of a control that
    rllab's model has as a comment, gives -1922 and -394.6 in Box2D.

    Source: rllab, envs/box2d/double_pendulum_env.py and its model, whose dimensions are those here.
    """

    rods = ("link1", "link2")
    direction = -1.0
    nominal_lengths = (1.0,)
    position_indices = (0, 1, 3, 4)

    xml_file = Path(__file__).with_name("acrobot.xml")
    frame_skip = 8

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Both links hanging, nearly at rest; joint angles are differences of the links' angles."""
        angle, velocity = self.normal(2, ANGLE_NOISE, generator), self.normal(2, VELOCITY_NOISE, generator)
        return _between(angle), _between(velocity)

    def random_lengths(self, generator: torch.Generator) -> Tensor:
        """Length of both links, uniform in [0.5, 1.5): [N, 1] m."""
        return 1.0 + self.uniform(1, 0.5, generator)

    def mass_and_inertia(self, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of links 0.1 m wide with 5 kg/m^2."""
        return box_mass_and_inertia(lengths, density=5.0, width=0.1)

    def observation(self, state: Tensor) -> Tensor:
        """Sine, cosine and angular velocity of each link: [N, 6]."""
        qpos, qvel, _ = self.split(state)
        angle, velocity = qpos.cumsum(1), qvel.cumsum(1)
        return torch.stack([angle.sin(), angle.cos(), velocity], dim=2).flatten(1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Minus the distance of the tip as rllab computes it: [N]."""
        angle, length = self.split(next_state)[0].cumsum(1), self.lengths(next_state)[:, 0]
        sine, cosine = angle.sin(), angle.cos()
        x, z = sine[:, 0] - sine[:, 1], -cosine.sum(1)
        return -length * torch.linalg.vector_norm(torch.stack([x, z - 2], dim=1), dim=1)


def _between(values: Tensor) -> Tensor:
    """Of the links in the world [N, 2], those of the joints: the first, and the second less the first."""
    return torch.cat([values[:, :1], values[:, 1:] - values[:, :1]], dim=1)
