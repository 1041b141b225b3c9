"""RllabHalfCheetah-v0: run forward on a hind and a fore leg in the plane."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from diffsim.tasks.rllab.locomotion import RllabLocomotion


class RllabHalfCheetah(RllabLocomotion):
    """Run forward along x on a hind and a fore leg, with motors of 30 to 120 N m. Never terminal.

    Observation: qpos without x (m, rad), qvel, centre of mass (m): 20 numbers. Reward of a step: velocity along x of
    the centre of mass (m/s), less 0.05 |u|^2, with actions u in [-1, 1]. An action lasts 0.01 s.

    Uniform random actions reach -103.5 +- 0.8 in 2,000 episodes, and -90.8 in the paper. Actions cost 50 of it. The
    velocity depends on how soft contacts are: the return is -82 if they reach their full impedance at a depth of 0.02 m
    in place of 0.01 m, and -151 with an impedance of 0.8 at any depth.

    Source: rllab, envs/mujoco/half_cheetah_env.py and its model, whose dimensions are those here; its total mass of
    14 kg is written as a density. MuJoCo has another constraint solver than its version 1.3.
    """

    ctrl_cost = 0.05
    position_indices = tuple(range(8))

    xml_file = Path(__file__).with_name("half_cheetah.xml")

    def observation(self, state: Tensor) -> Tensor:
        """Positions without x, velocities, centre of mass: [N, 20]."""
        return super().observation(state)[:, 1:]
