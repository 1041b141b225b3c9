"""Go1Walk-v0: a quadruped walks as a velocity command says."""

from __future__ import annotations

from pathlib import Path

from diffsim.tasks.legged_walk import LeggedWalk

WEIGHTS = {
    "linear_velocity": 1.5,
    "yaw_rate": 0.75,
    "vertical_velocity": -2.0,
    "roll_pitch_rate": -0.05,
    "tilt": -2.5,
    "torque": -2e-4,
    "acceleration": -2.5e-7,
    "action_rate": -0.01,
    "foot_height": -40.0,
    "foot_slip": -0.1,
}
"""Weights of the terms of the reward."""


class Go1Walk(LeggedWalk):
    """The Unitree Go1 walks as a velocity command says: a trot of 2 Hz.

    See `LeggedWalk`. It has fallen if its trunk is lower than 0.15 m. Observation: 50 numbers.

    Source: terms and weights are those of Isaac Lab's flat velocity task of this robot, except those of the feet,
    which here follow a clock in place of a reward for time in the air. Model: MuJoCo Menagerie.
    """

    position_indices = (*range(6, 24), *range(36, 50))

    xml_file = Path(__file__).with_name("unitree_go1.xml")
    feet = ("FR", "FL", "RR", "RL")
    offsets = (0.0, 0.5, 0.5, 0.0)  # diagonal feet swing together
    sole = 0.023
    action_range = 4 * (0.35, 0.6, 0.6)  # abduction, hip, knee
    min_height = 0.15
    weights_of_terms = WEIGHTS
