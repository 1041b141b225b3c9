"""Hopper-v5: hop forward on one leg in the plane."""

from __future__ import annotations

from torch import Tensor

from diffsim.options import option
from diffsim.tasks.forward_task import UprightTask
from diffsim.tasks.task import within


class Hopper(UprightTask):
    """Hop forward along x on one leg of three hinges, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel clipped to [-10, 10]. Reward: mean velocity along x
    over the step (m/s), plus `healthy_reward` where healthy, less a cost of the squared action. Terminal: not
    healthy, which means that height, torso angle, or another entry of the state is out of its range.

    Source: gymnasium.envs.mujoco.hopper_v5.
    """

    xml_file = "hopper.xml"
    healthy_z_range = (0.7, float("inf"))
    healthy_angle_range = (-0.2, 0.2)
    healthy_state_range: tuple[float, float] = option(
        "open interval for qpos without the first two, and for qvel.", default=(-100.0, 100.0)
    )

    def healthy(self, state: Tensor) -> Tensor:
        """Whether height, angle and all other entries lie within their open intervals: bool [N]."""
        return super().healthy(state) & within(state[:, 2:], self.healthy_state_range).all(dim=1)
