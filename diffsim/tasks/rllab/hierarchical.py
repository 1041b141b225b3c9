"""Rllab's hierarchical tasks: the swimmer and the ant, each with gathering and with a maze."""

from __future__ import annotations

import mujoco

from diffsim.tasks.rllab.ant import RllabAnt
from diffsim.tasks.rllab.gather import GatherTask
from diffsim.tasks.rllab.maze import MazeTask
from diffsim.tasks.rllab.swimmer import RllabSwimmer


class RllabSwimmerGather(GatherTask, RllabSwimmer):
    """Gather apples and avoid bombs with the swimmer: see `GatherTask` and `RllabSwimmer`; 33 observed numbers.

    The heading is the angle of the first link. As in rllab, where the swimmer's model takes part in contacts that are
    named only, it does not touch the walls.
    """

    heading = 2


class RllabAntGather(GatherTask, RllabAnt):
    """Gather apples and avoid bombs with the ant: see `GatherTask` and `RllabAnt`; 145 observed numbers.

    Uniform random actions reach -4.4 +- 0.4 in 200 episodes, and -5.8 in the paper, where five runs spread by 5.0. In
    the other three hierarchical tasks they reach 0, as in the paper.

    The heading is the last number of the torso's quaternion, as in rllab at the time of the paper; it is near half of
    the angle about the vertical for small angles. rllab corrected that half a year later.
    """

    heading = 6


class RllabSwimmerMaze(MazeTask, RllabSwimmer):
    """Swim through a maze: see `MazeTask` and `RllabSwimmer`; 53 observed numbers.

    The heading is the angle of the first link. Cells are 4 m wide. The walls are without friction.
    """

    scale = 4.0
    height = 0.5
    heading = 2

    def add_surroundings(self, spec: mujoco.MjSpec) -> None:
        """As `MazeTask`, and lets the robot's links touch the walls, not each other."""
        for body in spec.bodies[1:]:
            for geom in body.geoms:
                geom.conaffinity = 1
        super().add_surroundings(spec)


class RllabAntMaze(MazeTask, RllabAnt):
    """Walk through a maze with the ant: see `MazeTask` and `RllabAnt`; 165 observed numbers.

    The heading is the last number of the torso's quaternion, as in rllab at the time of the paper (see
    `RllabAntGather`). Cells are 3 m wide.
    """

    scale = 3.0
    height = 2.0
    heading = 6
