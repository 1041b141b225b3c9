"""RllabMountainCar-v0: drive a weak car out of a valley."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

import diffsim.types
from diffsim.checks import check_shape
from diffsim.engine.checks import check_finite
from diffsim.options import given, option
from diffsim.tasks.configurable import ConfigurableMDP
from diffsim.tasks.task import unbounded

MASS, GRAVITY, FORCE = 0.4, 10.0, 1.0
"""kg, m/s^2, N."""
HALF_LENGTH, CLEARANCE = 0.2, 0.117
"""Of the car; its centre above the middle of its two points of contact: 0.1, and what Box2D keeps between shapes, m."""
DRAG = 0.34
"""Chosen so that random actions reach the published returns, N s/m."""
TRACK_WIDTH = 4.0
"""Distance of two hilltops, m."""
GOAL, MAX_DISTANCE, MAX_START_SPEED = 0.6, 2.0, 1.0
DT, SUBSTEPS = 0.05, 2
"""Time per action, s, and Runge-Kutta steps in it."""


def spaces() -> tuple[Box, Box]:
    """Spaces of observations and actions."""
    return unbounded(2), Box(-1.0, 1.0, (1,), np.float32)


class RllabMountainCar(ConfigurableMDP):
    """Drive a car out of a valley whose slope is steeper than its force of 1 N can climb: "mountain car".

    Observation: x (m) and velocity along x (m/s). Reward of a step, after it: z - 1, z the height of the car's centre
    (m). Terminal: x >= 0.6, or x <= -2. An episode starts at x = 0, the bottom, with a velocity in [-1, 1). An action
    in [-1, 1] is the force along the track in N, for 0.05 s.

    The centre of the car, a box 0.4 m long on two points of the track 1 - cos(k x) of width 2 pi / k = 4 m, moves on

        z = h(x) = 1.117 - cos(0.2 k) cos(k x)

    as a point of mass m = 0.4 kg with the drag c = 0.34 N s/m. From the Lagrangian m (1 + h'^2) x'^2 / 2 - m g h:

        m (1 + h'^2) x'' + m h' h'' x'^2 + m g h' = u sqrt(1 + h'^2) - c (1 + h'^2) x'

    with g = 10 m/s^2, integrated by two Runge-Kutta steps of fourth order. `random_model=True` draws the track's width
    in [3, 5) m at every reset, which is then the last number of the state: [x, v, width]. The same model, step by step
    in NumPy, is `diffsim.rllab_env.RllabMountainCarEnv`.

    Where this differs from Box2D: there the box also turns, and loses energy at the corners of the track's polygon; the
    drag stands for that. Uniform random actions reach -415.4 and in 100 steps -83.0, as in the paper and in rllab's
    model in Box2D. Pushing in the direction of motion takes 76 steps to the goal, and 85 in Box2D.

    Source: rllab, envs/box2d/mountain_car_env.py and its model.
    """

    max_episode_steps = 500
    dtype = diffsim.types.dtype
    position_indices = (0,)
    nominal_lengths = (TRACK_WIDTH,)
    dt = DT

    num_envs: int = given("number of copies, N >= 1.", default=1)
    device: torch.device = given("where to compute, by name or as a torch.device.", default="cpu")
    random_model: bool = option("draw the track's width anew at every reset, for every copy.", default=False)
    drag: float = option("of the car along the track, N s/m.", "finite and >= 0", default=DRAG)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the declared options."""
        super().__init__(*args, **kwargs)
        self.observation_space, self.action_space = spaces()

    @property
    def state_size(self) -> int:
        """2, and 1 for the width with a random model."""
        return 2 + self.random_model

    def random_lengths(self, generator: torch.Generator) -> Tensor:
        """Width of the track, uniform in [3, 5): [N, 1] m."""
        return TRACK_WIDTH + 2 * self._unit(generator) - 1

    def lengths(self, state: Tensor) -> Tensor:
        """Width of the track in `state` [N, S]: [N, 1] m."""
        return state[:, 2:] if self.random_model else torch.full_like(state[:, :1], TRACK_WIDTH)

    def hidden(self, state: Tensor) -> Tensor:
        """The width of a random track: [N, 1] m, or [N, 0]."""
        return state[:, 2:]

    def initial(self, generator: torch.Generator) -> Tensor:
        """At the bottom with a random velocity: [N, S]."""
        velocity = MAX_START_SPEED * (2 * self._unit(generator) - 1)
        lengths = [self.random_lengths(generator)] if self.random_model else []
        return torch.cat([torch.zeros_like(velocity), velocity, *lengths], dim=1)

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Holds `action` [N, 1], clipped to [-1, 1], for 0.05 s: next state, [N, S].

        Raises: ValueError if a shape is wrong, the action is not finite, or there is noise.
        """
        if noise is not None:
            raise ValueError("noise must be None for a task without process noise (noise_size is 0)")
        for name, value, size in (("state", state, self.state_size), ("action", action, 1)):
            check_shape(name, value, (self.num_envs, size))
        check_finite("action", action, deferrable=True)
        force, k = FORCE * action.clamp(-1.0, 1.0), self._wave(state)
        x, v, step = state[:, :1], state[:, 1:2], DT / SUBSTEPS
        for _ in range(SUBSTEPS):
            a1 = self._acceleration(x, v, force, k)
            v2 = v + step / 2 * a1
            a2 = self._acceleration(x + step / 2 * v, v2, force, k)
            v3 = v + step / 2 * a2
            a3 = self._acceleration(x + step / 2 * v2, v3, force, k)
            v4 = v + step * a3
            a4 = self._acceleration(x + step * v3, v4, force, k)
            x = x + step / 6 * (v + 2 * v2 + 2 * v3 + v4)
            v = v + step / 6 * (a1 + 2 * a2 + 2 * a3 + a4)
        return torch.cat([x, v, state[:, 2:]], dim=1)

    def height(self, state: Tensor) -> Tensor:
        """Height z of the car's centre: [N] m."""
        k = self._wave(state)
        return (1 + CLEARANCE - (HALF_LENGTH * k).cos() * (k * state[:, :1]).cos())[:, 0]

    def observation(self, state: Tensor) -> Tensor:
        """Position and velocity along x: [N, 2]."""
        return state[:, :2]

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """Height of the centre less 1: [N]."""
        return self.height(next_state) - 1

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the car has reached the goal, or left the track: bool [N]."""
        return (state[:, 0] >= GOAL) | (state[:, 0] <= -MAX_DISTANCE)

    def _acceleration(self, x: Tensor, v: Tensor, force: Tensor, k: Tensor) -> Tensor:
        """Second derivative of x by the equation above, [N, 1], for the wave number k [N, 1] of the track."""
        depth = (HALF_LENGTH * k).cos()
        slope, bend = depth * k * (k * x).sin(), depth * k.square() * (k * x).cos()
        stretch = 1 + slope.square()
        along = force * stretch.rsqrt() - self.drag * v
        return along / MASS - slope * (bend * v.square() + GRAVITY) / stretch

    def _wave(self, state: Tensor) -> Tensor:
        """Wave number of the track: [N, 1] 1/m."""
        return 2 * torch.pi / self.lengths(state)

    def _unit(self, generator: torch.Generator) -> Tensor:
        """Uniform numbers in [0, 1): [N, 1]."""
        return torch.rand(self.num_envs, 1, generator=generator, dtype=self.dtype, device=self.device)
