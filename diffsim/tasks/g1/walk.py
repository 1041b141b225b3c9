"""G1Walk-v0: a humanoid walks as a velocity command says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffsim.options import option
from diffsim.tasks.legged_walk import LeggedWalk

WEIGHTS = {
    "linear_velocity": 1.5,
    "yaw_rate": 0.75,
    "vertical_velocity": -0.5,
    "roll_pitch_rate": -0.05,
    "tilt": -2.0,
    "torque": -2e-6,
    "acceleration": -1.25e-7,
    "action_rate": -0.01,
    "foot_height": -20.0,
    "foot_slip": -0.1,
    "posture": -0.2,
}
"""Weights of the terms of the reward."""
LEG = (0.6, 0.25, 0.25, 0.6, 0.5, 0.25)
WAIST = (0.2, 0.1, 0.1)
ARM = (0.4, 0.2, 0.2, 0.4, 0.1, 0.1, 0.1)
POSTURE_LEG = (0.0, 1.0, 1.0, 0.0, 0.0, 1.0)
"""Whether a joint of a leg should keep its angle: all but those that swing it forward."""


class G1Walk(LeggedWalk):
    """The Unitree G1 walks as a velocity command says, with 29 joints and the meshes that it collides with.

    See `LeggedWalk`. It has fallen if its pelvis is lower than 0.5 m. Observation: 101 numbers. The feet's clocks have
    a period of 0.72 s. Another term of the reward is `posture`: the sum of squares of the angles, less those of the
    home pose, of hips' roll and yaw, ankles' roll, waist and arms (rad).

    Source: the terms are those of Isaac Lab's flat velocity task of this robot, except those of the feet, which here
    follow a clock in place of a reward for time in the air. Model: MuJoCo Menagerie, with a time step of 5 ms.
    """

    position_indices = (*range(6, 41), *range(70, 101))

    xml_file = Path(__file__).with_name("unitree_g1.xml")
    keyframe = "bent_knees"
    feet = ("left_foot", "right_foot")
    offsets = (0.0, 0.5)
    period = 36
    sole = 0.035
    action_range = (*LEG, *LEG, *WAIST, *ARM, *ARM)
    min_height = 0.5
    weights_of_terms = WEIGHTS
    command_range: Sequence[float] = option(
        "half-widths of the ranges of drawn commands, as in `command`, each >= 0.", default=(1.0, 0.5, 1.0)
    )

    def setup(self) -> None:
        """Makes the weights of `posture`."""
        super().setup()
        self.posture = self._tensor((*POSTURE_LEG, *POSTURE_LEG, *[1.0] * 17))

    def terms(self, state: Tensor, action: Tensor, next_state: Tensor) -> dict[str, Tensor]:
        """The terms of `LeggedWalk`, and `posture`: [N] each."""
        angles = self.split(next_state)[0][:, 7:] - self.home
        return super().terms(state, action, next_state) | {"posture": (self.posture * angles.square()).sum(dim=1)}
