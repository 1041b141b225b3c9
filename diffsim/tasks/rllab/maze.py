"""Base class of rllab's maze tasks, and their rays."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import mujoco
import torch
from torch import Tensor

from diffsim.tasks.rllab.gather import add_box
from diffsim.tasks.rllab.locomotion import RllabLocomotion

MAZE = ("#####", "#r  #", "### #", "#g  #", "#####")
"""Cells of the maze, rows along y: walls, the robot's start (the origin) and the goal."""
RAYS, RANGE, SPAN = 20, 10.0, pi
"""Number, range (m) and span (rad) of the rays."""


class MazeTask(RllabLocomotion):
    """Walk through a U-shaped maze to its goal, with a robot that must learn to move on the way.

    Reward of a step: 1 if it ends with the centre of mass in the goal's cell, else 0; the robot's own reward does not
    count. Terminal: the goal, or the end of the robot's own task.

    Observation: that of the robot's own task; then 20 readings of walls and 20 of the goal, by rays in the plane from
    the centre of mass, in the middles of equal sectors from -pi/2 to pi/2 about the robot's heading: (10 - d) / 10
    where the first cell that a ray meets, at distance d <= 10 m, is a wall, or the goal; else 0.

    Walls reach as far below the plane of the origin as above it. In rllab they end there, so that the axes of the
    swimmer's links lie in their lower faces, where contacts depend on rounding.

    Attributes:
        scale: size of a cell, m.
        height: of the walls, as a multiple of `scale`.
        heading: index in qpos of what counts as the robot's heading, rad.

    Source: Duan et al. (2016), section 3.4; rllab, envs/mujoco/maze/maze_env.py at the time of the paper.
    """

    scale: ClassVar[float]
    height: ClassVar[float]
    heading: ClassVar[int]

    def add_surroundings(self, spec: mujoco.MjSpec) -> None:
        """Adds a box for each cell of the walls."""
        half = self.scale / 2
        for x, y in cells("#", self.scale):
            add_box(spec, f"block_{x:g}_{y:g}", [x, y, 0], [half, half, self.height * self.scale])

    def setup(self) -> None:
        """Prepares the edges of the cells, and the directions of the rays."""
        super().setup()
        self.walls, self.goal = (self._edges(kind) for kind in "#g")
        self.goal_middle = torch.tensor(cells("g", self.scale)[0], dtype=self.dtype, device=self.device)
        middles = (torch.arange(RAYS, dtype=self.dtype, device=self.device) + 0.5) / RAYS
        self.directions = SPAN * (middles - 0.5)

    def observation(self, state: Tensor) -> Tensor:
        """The robot's own, and the readings of walls and goal: [N, O + 40]."""
        return torch.cat([super().observation(state), self.readings(state).flatten(1)], dim=1)

    def readings(self, state: Tensor) -> Tensor:
        """Readings of walls and of the goal: [N, 2, 20]."""
        origin = self.motion(state).com[:, :2]
        angle = state[:, self.heading, None] + self.directions
        wall, goal = (ray_distance(origin, angle, edges) for edges in (self.walls, self.goal))
        first = torch.stack([torch.where(wall <= goal, wall, RANGE), torch.where(goal < wall, goal, RANGE)], dim=1)
        return (RANGE - first).clamp_min(0) / RANGE

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """1 in the goal's cell, else 0: [N]."""
        return self.in_goal(next_state).to(state.dtype)

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the goal is reached, or the robot's own task ended: bool [N]."""
        return super().terminal(state) | self.in_goal(state)

    def in_goal(self, state: Tensor) -> Tensor:
        """Whether the centre of mass is in the goal's cell: bool [N]."""
        return ((self.motion(state).com[:, :2] - self.goal_middle).abs() <= self.scale / 2).all(dim=1)

    def _edges(self, kind: str) -> Tensor:
        """Start and vector of each edge of the cells of a kind: [M, 2, 2] m."""
        half = self.scale / 2
        corners = torch.tensor([[-half, -half], [half, -half], [half, half], [-half, half]], dtype=self.dtype)
        middles = torch.tensor(cells(kind, self.scale), dtype=self.dtype)
        starts = (middles[:, None] + corners).flatten(0, 1)
        vectors = (corners.roll(-1, 0) - corners).repeat(len(middles), 1)
        return torch.stack([starts, vectors], dim=1).to(self.device)


def cells(kind: str, scale: float) -> list[tuple[float, float]]:
    """Middles (m) of the maze's cells of a kind; the robot starts at the origin."""
    places = [(column, row, cell) for row, line in enumerate(MAZE) for column, cell in enumerate(line)]
    start = next((column, row) for column, row, cell in places if cell == "r")
    return [((x - start[0]) * scale, (y - start[1]) * scale) for x, y, cell in places if cell == kind]


def ray_distance(origin: Tensor, angle: Tensor, edges: Tensor) -> Tensor:
    """Distance along rays to the first of M line segments; differentiable where a ray does not pass a segment's end.

    A ray p + r (cos, sin) meets a segment a + s e where r = (a - p) x e / D and s = (a - p) x (cos, sin) / D, with the
    determinant D = (cos, sin) x e, if r >= 0 and 0 <= s <= 1.

    Args:
        origin: [N, 2] m.
        angle: of the rays, [N, K] rad.
        edges: start a and vector e of each segment, [M, 2, 2] m.

    Returns: [N, K] m; twice the rays' range where a ray meets none.
    """
    ray = torch.stack([angle.cos(), angle.sin()], dim=2)[:, :, None]
    start, vector = edges.unbind(1)
    apart = (start - origin[:, None])[:, None]
    determinant = cross(ray, vector)
    parallel = determinant.abs() < 1e-8
    safe = torch.where(parallel, 1.0, determinant)
    along, across = cross(apart, vector) / safe, cross(apart, ray) / safe
    met = ~parallel & (along >= 0) & (across >= 0) & (across <= 1)
    return torch.where(met, along, 2 * RANGE).amin(dim=2)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of vectors in the plane, [..., 2] and [..., 2]: [...]."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
