"""RllabWalker2d-v0: walk forward on two legs in the plane."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from diffsim.tasks.rllab.locomotion import RllabLocomotion
from diffsim.tasks.task import within


class RllabWalker2d(RllabLocomotion):
    """Walk forward along x on two legs in the plane, with motors of up to 150 N m in hips, 100 in knees and ankles.

    Observation: qpos (m, rad), qvel, centre of mass (m): 21 numbers. Reward of a step, also of the last one: velocity
    along x of the centre of mass (m/s), less 0.005 |u|^2, with actions u in [-1, 1]. Terminal: the torso's height is
    outside (0.8, 2) m, or its pitch outside (-1, 1) rad. An action lasts 0.005 s.

    Uniform random actions reach -1.71 +- 0.11 in 2,000 episodes, and -1.7 in the paper.

    Source: rllab, envs/mujoco/walker2d_env.py and its model, whose dimensions are those here. MuJoCo has another
    constraint solver than its version 1.3.
    """

    position_indices = tuple(range(9))

    xml_file = Path(__file__).with_name("walker2d.xml")

    def terminal(self, state: Tensor) -> Tensor:
        """Whether height or pitch is outside its interval: bool [N]."""
        return ~(within(state[:, 0], (0.8, 2.0)) & within(state[:, 2], (-1.0, 1.0)))
