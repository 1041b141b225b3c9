"""Legged robots that walk as a velocity command says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import pi
from typing import ClassVar

import mujoco
import numpy as np
import torch
from torch import Tensor

from diffsim.checks import check_choice, check_count, require
from diffsim.options import option
from diffsim.tasks.memory_task import MemoryTask
from diffsim.tasks.rllab.kinematics import free_frame

TRACKING_VARIANCE = 0.25
"""Of velocities, (m/s)^2 and (rad/s)^2."""
MIN_UPRIGHT = 0.5
"""Cosine of the trunk's tilt below which the robot has fallen."""


class LeggedWalk(MemoryTask):
    """Walk on flat ground with the velocity that a command says, by position targets for all joints.

    An action is held for 20 ms. It is the target of the joints' position actuators (rad), within `action_range` of the
    home pose. An episode lasts 20 s. Its commands, one after the other, are drawn at reset: velocity forward and to
    the left (m/s), yaw rate (rad/s), uniform within `command_range`, or all zero.

    Observation: velocity and angular velocity of the trunk, and direction of gravity, all in the trunk's frame (m/s,
    rad/s, unit vector); command; joint angles less those of the home pose (rad); joint velocities (rad/s); last action
    less the home pose (rad); sine and cosine of the gait's clock: 14 + 3 J numbers for J joints.

    Reward of a step, after it: the sum of `terms` with their weights. Every term is differentiable. Terminal: the
    trunk is lower than `min_height`, or tilted by more than 60 degrees.

    Memory: steps since reset, last action, commands.

    Attributes:
        keyframe: the home pose, by name or number.
        feet: names of the feet's sites.
        offsets: of the feet's clocks, in periods.
        period: of the gait, in steps.
        swing_height: of a foot's site at mid-swing, above that in stance (m).
        sole: height of a foot's site above the ground in stance (m).
        action_range: half-widths of the ranges of the joints' targets around the home pose (rad): J.
        min_height: of the trunk (m).
        weights_of_terms: weights of the terms of the reward.
    """

    keyframe: ClassVar[str | int] = 0
    feet: ClassVar[tuple[str, ...]]
    offsets: ClassVar[tuple[float, ...]]
    period: ClassVar[int] = 25
    swing_height: ClassVar[float] = 0.08
    sole: ClassVar[float]
    action_range: ClassVar[Sequence[float]]
    min_height: ClassVar[float]
    weights_of_terms: ClassVar[Mapping[str, float]]

    frame_skip = 4
    command: Sequence[float] | None = option(
        "one command for all episodes, forward (m/s), left (m/s), yaw (rad/s); None draws commands.", default=None
    )
    command_range: Sequence[float] = option(
        "half-widths of the ranges of drawn commands, as in `command`, each >= 0.", default=(1.0, 1.0, 1.0)
    )
    command_steps: int = option("steps that a drawn command lasts, >= 1.", check_count, default=500)
    stand_share: float = option("probability that a drawn command is zero.", "in [0, 1]", default=0.1)
    reset_noise_scale: float = option("half-width of the noise on joint angles (rad) at reset.", ">= 0", default=0.1)
    weights: Mapping[str, float] | None = option(
        "weights of terms of the reward other than `weights_of_terms`.", default=None
    )

    def load_model(self) -> mujoco.MjModel:
        """The model, with the ranges of the actions as those of its controls."""
        model = super().load_model()
        home, limits = model.key(self.keyframe).ctrl, model.actuator_ctrlrange
        half_width = np.asarray(self.action_range)
        model.actuator_ctrlrange = np.clip([home - half_width, home + half_width], *limits.T[:, None]).T
        return model

    def setup(self) -> None:
        """Checks the options, and makes the constant tensors."""
        for name, values in (("command", self.command), ("command_range", self.command_range)):
            require(values is None or len(values) == 3, name, "3 numbers", values)
        require(min(self.command_range) >= 0, "command_range", ">= 0", self.command_range)
        for name in self.weights or {}:
            check_choice("a name in weights", name, tuple(self.weights_of_terms))
        self.num_commands = -(-self.max_episode_steps // self.command_steps)
        self.num_joints = self.mj_model.nu
        self.num_memory = 1 + self.num_joints + 3 * self.num_commands
        self.term_weights = {**self.weights_of_terms, **(self.weights or {})}
        model = self.mj_model
        self.init_qpos = self._tensor(model.key(self.keyframe).qpos)
        self.home = self.init_qpos[7:]
        self.gain = self._tensor(model.actuator_gainprm[:, 0])
        self.damping = self._tensor(-model.actuator_biasprm[:, 2])
        joint_limit = model.jnt_actfrcrange[model.actuator_trnid[:, 0], 1]
        limited = model.actuator_forcelimited.astype(bool)
        self.torque_limit = self._tensor(np.where(limited, model.actuator_forcerange[:, 1], joint_limit))
        self.phases, self.half_range = self._tensor(self.offsets), self._tensor(self.command_range)
        command = self._tensor((0.5, 0.0, 0.0) if self.command is None else self.command)
        self.first_memory = torch.cat([self.home.new_zeros(1), self.home, command.repeat(self.num_commands)])

    def _tensor(self, values: Sequence[float] | np.ndarray) -> Tensor:
        return torch.tensor(np.asarray(values), dtype=self.dtype, device=self.device)

    def reset_model(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The home pose with noise on the joints, at rest."""
        noise = self.uniform(self.num_joints, self.reset_noise_scale, generator)
        qpos = torch.cat([self.init_qpos[:7].expand(self.num_envs, -1), self.home + noise], dim=1)
        return qpos, torch.zeros(self.num_envs, self.mj_model.nv, dtype=self.dtype, device=self.device)

    def initial_memory(self, generator: torch.Generator) -> Tensor:
        """Draws the commands."""
        memory = self.rest_memory()
        count = self.num_commands
        drawn = self.uniform(3 * count, 1.0, generator).unflatten(1, (count, 3))
        moves = (self.uniform(count, 0.5, generator) + 0.5 >= self.stand_share)[..., None]
        if self.command is not None:
            return memory
        return torch.cat([memory[:, : 1 + self.num_joints], (drawn * self.half_range * moves).flatten(1)], dim=1)

    def rest_memory(self) -> Tensor:
        """The home pose as last action, and one command: `command`, or forward at 0.5 m/s."""
        return self.first_memory.expand(self.num_envs, -1)

    def next_memory(self, memory: Tensor, action: Tensor, reached: Tensor) -> Tensor:
        """Counts the step, and keeps the action."""
        return torch.cat([memory[:, :1] + 1, action, memory[:, 1 + self.num_joints :]], dim=1)

    def current_command(self, state: Tensor) -> Tensor:
        """The command in `state` [N, S]: [N, 3]."""
        memory = self.memory(state)
        index = (memory[:, 0] / self.command_steps).floor().clamp(0, self.num_commands - 1).long()
        commands = memory[:, 1 + self.num_joints :].unflatten(1, (self.num_commands, 3))
        return commands.gather(1, index[:, None, None].expand(-1, 1, 3))[:, 0]

    def trunk(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity, angular velocity, and direction of gravity in the trunk's frame, [N, 3] each."""
        qpos, qvel, _ = self.split(state)
        rotation = free_frame(qpos, qvel).rotation[:, 0]
        return (qvel[:, None, :3] @ rotation)[:, 0], qvel[:, 3:6], -rotation[:, 2]

    def observation(self, state: Tensor) -> Tensor:
        """Trunk, command, joints, last action, clock: [N, 14 + 3 J]."""
        qpos, qvel, _ = self.split(state)
        memory = self.memory(state)
        angle = 2 * pi / self.period * memory[:, :1]
        joints = [qpos[:, 7:] - self.home, qvel[:, 6:], memory[:, 1 : 1 + self.num_joints] - self.home]
        return torch.cat([*self.trunk(state), self.current_command(state), *joints, angle.sin(), angle.cos()], dim=1)

    def swing(self, state: Tensor) -> Tensor:
        """How high each foot should be, from 0 on the ground to 1: [N, 4]; 0 for all feet if the command is zero."""
        phase = 2 * pi * (self.memory(state)[:, :1] / self.period + self.phases)
        moves = (self.current_command(state) != 0).any(dim=1, keepdim=True)
        return phase.sin().clamp_min(0).square() * moves

    def terms(self, state: Tensor, action: Tensor, next_state: Tensor) -> dict[str, Tensor]:
        """The terms of the reward without their weights, [N] each.

        linear_velocity and yaw_rate are exp(-e^2 / 0.25) for the error e of velocity in the trunk's x and y (m/s), and
        of yaw rate (rad/s). The others are sums of squares: vertical velocity (m/s), roll and pitch rate (rad/s),
        horizontal part of the direction of gravity, torques of the position actuators at the state reached (N m), joint
        accelerations (rad/s^2), change of the action (rad), error of the feet's heights (m), and velocity of the feet
        along the ground (m/s), each weighted by 1 - 4 swing, at least 0.
        """
        (qpos, qvel, _), (_, old_qvel, _) = self.split(next_state), self.split(state)
        velocity, angular, gravity = self.trunk(next_state)
        command, swing = self.current_command(state), self.swing(next_state)
        feet = self.simulator.site_xpos(qpos, self.feet)
        slip = (feet - self.simulator.site_xpos(self.split(state)[0], self.feet))[..., :2].square().sum(
            dim=2
        ) / self.dt**2
        force = self.gain * (action - qpos[:, 7:]) - self.damping * qvel[:, 6:]
        force = force.clamp(-self.torque_limit, self.torque_limit)
        return {
            "linear_velocity": tracking(velocity[:, :2] - command[:, :2]),
            "yaw_rate": tracking(angular[:, 2:] - command[:, 2:]),
            "vertical_velocity": velocity[:, 2].square(),
            "roll_pitch_rate": squares(angular[:, :2]),
            "tilt": squares(gravity[:, :2]),
            "torque": squares(force),
            "acceleration": squares(qvel[:, 6:] - old_qvel[:, 6:]) / self.dt**2,
            "action_rate": squares(action - self.memory(state)[:, 1 : 1 + self.num_joints]),
            "foot_height": squares(feet[..., 2] - self.sole - self.swing_height * swing),
            "foot_slip": ((1 - 4 * swing).clamp_min(0) * slip).sum(dim=1),
        }

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The weighted sum of the terms, [N]."""
        terms = self.terms(state, action, next_state)
        return sum((self.term_weights[name] * term for name, term in terms.items()), torch.zeros_like(state[:, 0]))

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the robot has fallen: bool [N]."""
        return (state[:, 2] < self.min_height) | (-self.trunk(state)[2][:, 2] < MIN_UPRIGHT)


def squares(values: Tensor) -> Tensor:
    """Sum of squares of each row of [N, K]: [N]."""
    return values.square().sum(dim=1)


def tracking(error: Tensor) -> Tensor:
    """exp(-|e|^2 / 0.25) of errors [N, K]: [N]."""
    return (-squares(error) / TRACKING_VARIANCE).exp()
