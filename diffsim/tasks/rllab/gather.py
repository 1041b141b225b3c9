"""Base class of rllab's gathering tasks, and their sensor."""

from __future__ import annotations

from math import pi
from typing import ClassVar

import mujoco
import torch
from torch import Tensor

from diffsim.tasks.memory_task import MemoryTask
from diffsim.tasks.rllab.locomotion import RllabLocomotion

COUNT = 8
"""Apples, and as many bombs."""
CELLS = [(x, y) for x in range(-6, 6, 2) for y in range(-6, 6, 2) if x * x + y * y >= 4]
"""Places of objects, m."""
CATCH, WALL = 1.0, 7.0
"""Distance at which an object is caught, and of the walls' middles, m."""
BINS, RANGE, SPAN = 10, 6.0, pi
"""Numbers, range (m) and span (rad) of the sensors."""


class GatherTask(MemoryTask, RllabLocomotion):
    """Gather apples and avoid bombs, with a robot that must learn to move on the way.

    Eight apples and eight bombs lie on different places of a grid, 2 m apart, drawn at reset. The robot catches what is
    nearer than 1 m to its centre of mass. Reward of a step: 1 for each apple caught, -1 for each bomb; the robot's own
    reward does not count. Terminal: everything is caught; or the robot's own task ends, for which the reward is -10.
    Walls, 1 m thick, have their middles 7 m from the origin.

    Observation: that of the robot's own task; then for apples, and for bombs, in ten equal sectors from -pi/2 to pi/2
    about the robot's heading, 1 - d / 6 for the nearest at distance d (m), or 0 if there is none within 6 m.

    Memory: for the apples, then the bombs, 1 where it is left, 0 where it is caught; then x and y of all.

    Attributes:
        heading: index in qpos of what counts as the robot's heading, rad.

    Source: Duan et al. (2016), section 3.4; rllab, envs/mujoco/gather/gather_env.py at the time of the paper.
    """

    num_memory = 3 * 2 * COUNT
    heading: ClassVar[int]

    def add_surroundings(self, spec: mujoco.MjSpec) -> None:
        """Adds the walls."""
        for index, (x, y) in enumerate([(0, -WALL), (0, WALL), (-WALL, 0), (WALL, 0)], start=1):
            size = [0.5 if x else WALL + 0.5, 0.5 if y else WALL + 0.5, 1]
            add_box(spec, f"wall{index}", [x, y, 0], size, condim=3)

    def setup(self) -> None:
        """Prepares the grid."""
        super().setup()
        self.cells = torch.tensor(CELLS, dtype=self.dtype, device=self.device)

    def initial_memory(self, generator: torch.Generator) -> Tensor:
        """All objects, on places drawn without repetition."""
        keys = torch.rand(self.num_envs, len(CELLS), generator=generator, dtype=self.dtype, device=self.device)
        return self._all_left(keys.argsort(dim=1))

    def rest_memory(self) -> Tensor:
        """All objects, on the first places of the grid."""
        return self._all_left(torch.arange(len(CELLS), device=self.device).expand(self.num_envs, -1))

    def next_memory(self, memory: Tensor, action: Tensor, reached: Tensor) -> Tensor:
        """Takes away what is caught, unless the robot's own task ended."""
        left, places = objects(memory)
        distance = (places - self.motion(reached).com[:, None, :2]).square().sum(dim=2)
        stays = (distance >= CATCH**2) | super().terminal(reached)[:, None]
        return torch.cat([left * stays, memory[:, 2 * COUNT :]], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """The robot's own, and the readings of apples and bombs: [N, O + 20]."""
        readings = self.readings(state)
        return torch.cat([super().observation(state), readings.flatten(1)], dim=1)

    def readings(self, state: Tensor) -> Tensor:
        """Readings of apples and of bombs: [N, 2, 10]."""
        left, places = objects(self.memory(state))
        offset = places - self.motion(state).com[:, None, :2]
        distance = offset.norm(dim=2)
        angle = torch.atan2(offset[:, :, 1], offset[:, :, 0]) - state[:, self.heading, None]
        angle = torch.remainder(angle + pi, 2 * pi) - pi
        seen = (left > 0) & (distance <= RANGE) & (angle.abs() <= SPAN / 2)
        sector = ((angle + SPAN / 2) * (BINS / SPAN)).floor().clamp(0, BINS - 1)
        within = seen[:, :, None] & (sector[:, :, None] == torch.arange(BINS, device=state.device))
        intensity = torch.where(within, 1 - distance[:, :, None] / RANGE, 0.0)
        return intensity.unflatten(1, (2, COUNT)).amax(dim=2)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Apples caught less bombs caught, or -10 where the robot's own task ended: [N]."""
        caught = objects(self.memory(state))[0] - objects(self.memory(next_state))[0]
        apples, bombs = caught.split(COUNT, dim=1)
        return torch.where(super().terminal(next_state), -10.0, apples.sum(dim=1) - bombs.sum(dim=1))

    def terminal(self, state: Tensor) -> Tensor:
        """Whether everything is caught, or the robot's own task ended: bool [N]."""
        return super().terminal(state) | (objects(self.memory(state))[0] == 0).all(dim=1)

    def _all_left(self, order: Tensor) -> Tensor:
        """The memory in which objects lie on the first of the places in `order` [N, 35]."""
        places = self.cells[order[:, : 2 * COUNT]].flatten(1)
        return torch.cat([torch.ones_like(places[:, : 2 * COUNT]), places], dim=1)


def objects(memory: Tensor) -> tuple[Tensor, Tensor]:
    """Which objects are left [N, 16], and places of all [N, 16, 2], from memory [N, 48]."""
    return memory[:, : 2 * COUNT], memory[:, 2 * COUNT :].unflatten(1, (2 * COUNT, 2))


def add_box(spec: mujoco.MjSpec, name: str, pos: list[float], size: list[float], **fields: int) -> None:
    """Adds a box that touches every geom of a robot with a contact type: middle and half sizes, m."""
    kind = mujoco.mjtGeom.mjGEOM_BOX
    spec.worldbody.add_geom(name=name, type=kind, pos=pos, size=size, contype=1, conaffinity=1, **fields)
