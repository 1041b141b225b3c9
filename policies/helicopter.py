"""The structured policy of the lectures for hovering a helicopter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from diffsim.checks import check_value, require
from diffsim.policies.policy import Policy
from diffsim.policies.squash import ClipBox

# Terms of all controls, in the order of `forward`: x, y, z, x', y', z', p, q, r, n_x, n_y, n_z.
WIDTHS = [1, 2, 0, 3, 4]
"""Index of f_i for the first five of them."""
THETAS = [2, 6, 0, 3, 7, 1, 8, 4, 10, 9, 5, 11]
"""Index of theta."""
CONTROLS = [1, 0, 3, 1, 0, 3, 0, 1, 2, 0, 1, 2]
"""Index of the control: aileron, elevator, rudder, collective."""


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

    widths: Tensor
    order: Tensor
    controls: Tensor
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
        tables = {"widths": torch.tensor(WIDTHS), "order": torch.tensor(THETAS), "controls": torch.eye(4)[CONTROLS]}
        for name, value in tables.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Tensor:
        """Maps `obs` [..., 12] to actions [..., 4]; `noise` must be None or empty."""
        if noise is not None and noise.shape[-1] != 0:
            raise ValueError(f"noise must be None for a deterministic policy, got shape {tuple(noise.shape)}")
        velocity, position, rate, vector = self.features(obs).split(3, dim=-1)
        errors = torch.cat([-position, velocity[..., :2]], dim=-1)  # x, y, z, x', y'
        width = self.log_width.exp()[self.widths]
        saturated = width * torch.tanh(errors / width)
        terms = torch.cat([saturated, velocity[..., 2:], rate, back_to_level(vector)], dim=-1)
        return self.squash(self.trim + (terms * self.theta[self.order]) @ self.controls)


def back_to_level(vector: Tensor) -> Tensor:
    """The rotation vector, rad [..., 3], that undoes the rotation whose quaternion has vector part `vector` [..., 3].

    The scalar part must be positive: rotations of less than half a turn.
    """
    size = (vector.square().sum(-1, keepdim=True) + 1e-30).sqrt().clamp(max=1 - 1e-6)
    return -2 * vector * (size.asin() / size)
