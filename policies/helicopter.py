"""The structured policy of the lectures for hovering a helicopter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from diffsim.checks import check_value, require
from diffsim.policies.policy import Policy
from diffsim.policies.squash import ClipBox


class HelicopterPolicy(Policy):
    """Hovers a helicopter with a controller per axis, 21 parameters in all.

        u_coll = theta_1 f_1(z* - z) + theta_2 z'
        u_elev = theta_3 f_2(x* - x) + theta_4 f_4(x') + theta_5 q + theta_6 n_y
        u_ail  = theta_7 f_3(y* - y) + theta_8 f_5(y') + theta_9 p + theta_10 n_x
        u_rud  = theta_11 r + theta_12 n_z                      u = clip(trim + u, -1, 1)

    Positions, velocities and angular velocities p, q, r are those along the body's axes; n is the rotation vector that
    brings the body back to level and north, in the body's axes. The lectures leave f_i and the trim open: here
    f_i(e) = c_i tanh(e / c_i) with a learned width c_i, and the trim is learned.

    Args:
        observation_space: Box [12], as `HelicopterHover` has it.
        action_space: bounded Box [4]: aileron, elevator, rudder, collective.
        trim: initial controls; by default the collective carries the weight.
        width: initial c_i, m and m/s, above 0.
        theta: initial theta_1 to theta_12; zeros if None.

    Attributes:
        theta: [12].
        log_width: log c_i, [5].
        trim: [4].

    Raises: ValueError if a size is wrong.
    Source: Ng et al. (2004), "Autonomous helicopter flight via reinforcement learning", and the lectures' slide
    "Learning to hover".
    """

    noise_size = 0

    def __init__(
        self,
        observation_space: Box,
        action_space: Box,
        *,
        trim: Sequence[float] = (0.0, 0.0, 0.0, 0.2327),
        width: float = 5.0,
        theta: Sequence[float] | None = None,
    ) -> None:
        super().__init__(observation_space, action_space, False, ClipBox(action_space))
        require(self.obs_size == 12, "observation_space", "Box [12]", observation_space)
        require(self.action_size == 4, "action_space", "Box [4]", action_space)
        require(len(trim) == 4, "trim", "4 numbers", trim)
        require(theta is None or len(theta) == 12, "theta", "12 numbers or None", theta)
        check_value("width", width, "finite and > 0")
        self.theta = nn.Parameter(torch.tensor([0.0] * 12 if theta is None else list(theta)))
        self.log_width = nn.Parameter(torch.full((5,), width).log())
        self.trim = nn.Parameter(torch.tensor(list(trim)))

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., 12] to actions [..., 4]; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        velocity, position, rate, vector = self.features(obs).split(3, dim=-1)
        p, q, r = rate.unbind(-1)
        n_x, n_y, n_z = back_to_level(vector).unbind(-1)
        width = self.log_width.exp()
        z, x, y, forward, sideways = (
            (c * torch.tanh(e / c)) for c, e in zip(width, self._errors(velocity, position), strict=True)
        )
        t = self.theta
        elevator = t[2] * x + t[3] * forward + t[4] * q + t[5] * n_y
        aileron = t[6] * y + t[7] * sideways + t[8] * p + t[9] * n_x
        rudder = t[10] * r + t[11] * n_z
        collective = t[0] * z + t[1] * velocity[..., 2]
        return self.squash(self.trim + torch.stack([aileron, elevator, rudder, collective], dim=-1))

    @staticmethod
    def _errors(velocity: Tensor, position: Tensor) -> list[Tensor]:
        """Arguments of f_1 to f_5: position errors down, forward and right; velocities forward and right."""
        return [-position[..., 2], -position[..., 0], -position[..., 1], velocity[..., 0], velocity[..., 1]]


def back_to_level(vector: Tensor) -> Tensor:
    """The rotation vector, rad [..., 3], that undoes the rotation whose quaternion has vector part `vector` [..., 3].

    The scalar part must be positive: rotations of less than half a turn.
    """
    size = (vector.square().sum(-1, keepdim=True) + 1e-30).sqrt().clamp(max=1 - 1e-6)
    return -2 * vector * (size.asin() / size)
