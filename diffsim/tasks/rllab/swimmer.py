"""RllabSwimmer-v0: swim forward with three links."""

from __future__ import annotations

from pathlib import Path

from diffsim.tasks.rllab.locomotion import RllabLocomotion


class RllabSwimmer(RllabLocomotion):
    """Swim forward along x in the plane, with two motors of up to 50 N m. Never terminal.

    Observation: qpos (m, rad), qvel, centre of mass (m): 13 numbers. Reward of a step: velocity along x of the centre
    of mass (m/s), less 0.005 |u|^2, with actions u in [-1, 1]. An action lasts 0.05 s.

    Uniform random actions reach -1.70 +- 0.12 in 2,000 episodes, and -1.7 in the paper.

    Source: rllab, envs/mujoco/swimmer_env.py and its model, whose dimensions are those here. Its option
    `collision="predefined"`, which MuJoCo no longer has, is a model in which nothing touches.
    """

    position_indices = tuple(range(5))

    xml_file = Path(__file__).with_name("swimmer.xml")
    frame_skip = 50
