"""HalfCheetah-v5: run forward on two legs in the plane."""

from __future__ import annotations

from diffsim.tasks.forward_task import ForwardTask


class HalfCheetah(ForwardTask):
    """Run forward along x on two legs of three hinges each, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel. Reward: mean velocity along x over the step (m/s),
    less a cost of the squared action. Never terminal.

    Source: gymnasium.envs.mujoco.half_cheetah_v5.
    """

    xml_file = "half_cheetah.xml"
    frame_skip = 5
    normal_velocities = True
