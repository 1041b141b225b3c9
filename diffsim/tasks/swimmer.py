"""Swimmer-v5: swim forward with a chain of three links."""

from __future__ import annotations

from diffsim.tasks.forward_task import ForwardTask


class Swimmer(ForwardTask):
    """Swim along x with a chain of three links in a viscous fluid.

    Observation: qpos without the first two (m), qvel. Reward: mean velocity along x over the step (m/s), less
    a cost of the squared action. Never terminal.

    Source: gymnasium.envs.mujoco.swimmer_v5.
    """

    xml_file = "swimmer.xml"
    frame_skip = 4
    ctrl_cost_weight = 1e-4
    hidden_positions = 2
