"""Base class of the tasks of rllab's benchmark that have a MuJoCo model."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.tasks.task import Task, find_mjcf

POSITION_NOISE, VELOCITY_NOISE = 0.01, 0.1
"""Standard deviations of the normal noise on qpos and qvel at reset."""


class RllabTask(Task):
    """A task with a MuJoCo model as rllab's benchmark defines it, with actions in [-1, 1] and at most 500 steps.

    Rllab's `normalize` maps actions in [-1, 1] to the bounds of the controls, and clips what lies outside. Here the
    gears of the model's actuators contain the bounds, and every `ctrlrange` is -1 1, so a control is an action.

    An episode starts at the model's reference state with normal noise of standard deviation 0.01 on qpos and 0.1 on
    qvel. Extras are read at the state that a step reaches. Mass and inertia of capsules are those of MuJoCo 1.3 (see
    `cylinder_inertia`), on which the benchmark ran.

    Attributes:
        position_indices: indices of the observed numbers that are positions, not velocities or forces; a policy with
            limited sensors sees no others.

    Raises: ValueError if a control is not limited to [-1, 1].

    Source: Duan et al. (2016), arXiv:1604.06778; github.com/rll/rllab, envs/mujoco/mujoco_env.py.
    """

    max_episode_steps = 500
    extras_after_step = True
    position_indices: ClassVar[tuple[int, ...]]

    def load_model(self) -> mujoco.MjModel:
        """The model of `xml_file`, with the capsules' inertia of MuJoCo 1.3."""
        source = find_mjcf(self.xml_file)
        is_file = isinstance(source, Path)
        spec = mujoco.MjSpec.from_file(str(source)) if is_file else mujoco.MjSpec.from_string(source)
        self.add_surroundings(spec)
        return cylinder_inertia(spec).compile()

    def add_surroundings(self, spec: mujoco.MjSpec) -> None:
        """Adds what is around the robot to its model; nothing here."""

    def setup(self) -> None:
        """Checks the actuators."""
        model = self.mj_model
        limited = np.asarray(model.actuator_ctrllimited, dtype=bool)
        ranges = np.asarray(model.actuator_ctrlrange)
        if not limited.all() or (np.abs(ranges) != 1).any():
            raise ValueError(f"xml_file must limit every control to [-1, 1], got ctrlrange {ranges.tolist()}")

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The reference state with normal noise: qpos [N, nq], qvel [N, nv]."""
        qpos = self.init_qpos + self.normal(self.mj_model.nq, POSITION_NOISE, generator)
        return qpos, self.normal(self.mj_model.nv, VELOCITY_NOISE, generator)

    def squared_action(self, action: Tensor) -> Tensor:
        """|u / s|^2 of the clipped controls u, with s half of their range: [N]. Actions [N, A] outside are clipped."""
        return action.clamp(-1.0, 1.0).square().sum(dim=1)


def cylinder_inertia(spec: mujoco.MjSpec) -> mujoco.MjSpec:
    """Gives every capsule the mass and inertia that MuJoCo computed before version 2.1.2.

    They are those of a cylinder that is longer than the capsule's middle section by half of the radius at each end.
    Such a cylinder is added to the capsule's body, without contacts, and the capsule itself gets no mass.

    Source: MuJoCo's changelog, version 2.1.2.
    """
    compiled = spec.compile()
    capsules = [(geom, geom.id) for geom in spec.geoms if geom.type == mujoco.mjtGeom.mjGEOM_CAPSULE]
    for capsule, index in capsules:
        radius, half_length, _ = compiled.geom_size[index]
        cylinder = capsule.parent.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, contype=0, conaffinity=0, group=5)
        cylinder.size[:2] = radius, half_length + radius / 2
        cylinder.pos, cylinder.quat = compiled.geom_pos[index], compiled.geom_quat[index]
        cylinder.mass, cylinder.density = capsule.mass, capsule.density
        capsule.mass = 0.0
    return spec
