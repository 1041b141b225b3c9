"""Walker2d-v5: walk forward on two legs in the plane."""

from __future__ import annotations

from diffsim.tasks.forward_task import UprightTask


class Walker2d(UprightTask):
    """Walk forward along x on two legs of three hinges each, in the plane of x and z.

    Observation: qpos without the first (m, rad), qvel clipped to [-10, 10]. Reward: mean velocity along x
    over the step (m/s), plus `healthy_reward` where healthy, less a cost of the squared action. Terminal: not
    healthy, which means that height or torso angle is out of its range.

    Source: gymnasium.envs.mujoco.walker2d_v5.
    """

    xml_file = "walker2d_v5.xml"
    healthy_z_range = (0.8, 2.0)
