"""HelicopterHover-v0: keep a model helicopter level above one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import diffsim.tasks.helicopter_model as model
import diffsim.types
from diffsim.checks import check_shape
from diffsim.engine.checks import check_finite
from diffsim.options import given, option
from diffsim.tasks.configurable import ConfigurableMDP

SIZES = {"velocity": 3, "position": 3, "rate": 3, "quaternion": 4, "gust": 6, "wind": 2, "phase": 2, "time": 1}


class State(NamedTuple):
    """Parts of a state, [N, ...] each.

    Attributes:
        velocity, position: along the world's axes north, east, down; m/s, m.
        rate: angular velocity p, q, r about the body's axes, rad/s.
        quaternion: orientation of the body, x, y, z, w.
        gust: accelerations by turbulence along the body's axes, m/s^2, and about them, rad/s^2.
        wind, phase: of the wind's mean, north and east, m/s; of its oscillation, rad.
        time: steps since the episode began.
        crashed: 1 after a crash, else 0.
    """

    velocity: Tensor
    position: Tensor
    rate: Tensor
    quaternion: Tensor
    gust: Tensor
    wind: Tensor
    phase: Tensor
    time: Tensor
    crashed: Tensor


class HelicopterHover(ConfigurableMDP):
    """Hover at the origin, level and heading north, for ten minutes; the model is an XCell Tempest near hover.

    Actions: aileron, elevator, rudder, collective, in [-1, 1], held for 0.1 s. Observation: velocity (m/s), position
    (m) and angular velocity (rad/s) along the body's axes forward, right, down, and the vector part of the
    quaternion of the orientation: 12 numbers. Reward of a step, after it:

        r = -(|v|^2 + |x|^2 + |omega|^2 + q_x^2 + q_y^2 + q_z^2)

    A crash ends the episode, with about -1748.8 for each of the 6,000 steps that is left: more than 20 m from the
    origin along an axis, 5 m/s, 4 pi rad/s, or 30 degrees of rotation, at any of the ten Euler steps of an action. An
    episode starts at rest at the origin. Turbulence is the process noise, one update per step:

        n' = 0.8 n + 0.2 * 2 * sigma * w,    w ~ N(0, I)

    Within an action the angular velocity is linear in the controls, the orientation a product of rotations, and the
    velocity linear in itself for given orientations; `transition` computes the ten Euler steps in this order, all at
    once. The same model, step by step in NumPy, is `diffsim.helicopter_env.HelicopterHoverEnv`.

    Solved: a mean return above -939, that of the competition's own controller, without wind.

    Source: RL competition 2008, Abbeel's HelicopterState.java. Two changes: its test of the position reads |y| twice
    and never |z|, here it reads all three; and an episode's last step has the reward of any other step, not 0.
    """

    max_episode_steps = model.EPISODE_STEPS
    dtype = diffsim.types.dtype
    noise_size = 6
    position_indices = (3, 4, 5, 9, 10, 11)
    state_size = sum(SIZES.values()) + 1

    num_envs: int = given("number of copies, N >= 1.", default=1)
    device: torch.device = given("where to compute, by name or as a torch.device.", default="cpu")
    noise_scale: float = option("factor on the turbulence.", "finite and >= 0", default=1.0)
    wind: Sequence[float] = option("wind north and east, m/s.", model.check_wind, default=(0.0, 0.0))
    wind_range: float = option(
        "each episode adds uniform numbers in [-wind_range, wind_range] to the wind north and east, m/s; the "
        "competition of 2008 has 5.",
        "finite and >= 0",
        default=0.0,
    )
    wind_amplitude: float = option(
        "amplitude of an oscillation of the wind north and east, with a random phase each, m/s.",
        "finite and >= 0",
        default=0.0,
    )
    wind_frequency: float = option("of this oscillation, rad/s.", "finite and >= 0", default=0.5)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Takes the declared options."""
        super().__init__(*args, **kwargs)
        self.observation_space, self.action_space = model.spaces()
        self._constants = _Constants.on(self.device, self.dtype)

    @property
    def dt(self) -> float:
        """Time per action, s."""
        return model.DT * model.SUBSTEPS

    def initial(self, generator: torch.Generator) -> Tensor:
        """At rest at the origin, level, with a new wind: [N, S]."""
        unit = torch.rand(self.num_envs, 4, generator=generator, dtype=self.dtype, device=self.device)
        state = unit.new_zeros(self.num_envs, self.state_size)
        mean = torch.as_tensor(self.wind).to(state)
        wind, phase = mean + self.wind_range * (2 * unit[:, :2] - 1), 2 * torch.pi * unit[:, 2:]
        parts = self.split(state)
        upright = state.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(self.num_envs, 4)
        return torch.cat(parts._replace(quaternion=upright, wind=wind, phase=phase), dim=1)

    def split(self, state: Tensor) -> State:
        """Parts of a state [N, S]."""
        return State(*state.split([*SIZES.values(), 1], dim=1))

    def transition(self, state: Tensor, action: Tensor, noise: Tensor | None = None) -> Tensor:
        """Holds `action` [N, 4], clipped to [-1, 1], for ten Euler steps: next state, [N, S].

        Args:
            state: [N, S].
            action: [N, 4].
            noise: [N, 6] standard normal.

        Raises: ValueError if a shape is wrong, or the action is not finite.
        """
        for name, value, size in (("state", state, self.state_size), ("action", action, 4), ("noise", noise, 6)):
            check_shape(name, value, (self.num_envs, size))
        check_finite("action", action, deferrable=True)
        assert noise is not None
        now, c = self.split(state), self._constants
        action = action.clamp(-1.0, 1.0)
        gust = model.NOISE_MEMORY * now.gust + self.noise_scale * c.noise_std * noise
        rates = c.rate_powers * now.rate + c.rate_sums * (c.rate_gain * action[:, :3] + gust[:, 3:])
        turns = (_rotations(rates[:-1]) @ c.product).unflatten(-1, (4, 4))
        quaternions = _through(now.quaternion, turns)
        lift = torch.cat([torch.zeros_like(action[:, :2]), model.LIFT * action[:, 3:]], dim=1)
        force = gust[:, :3] + c.side_thrust + lift
        velocities = self._velocities(now, _matrices(quaternions[:-1], c.matrix), force)
        positions = now.position + model.DT * velocities[:-1].cumsum(0)
        with torch.no_grad():
            crashed = torch.maximum(
                now.crashed, _beyond(velocities[1:], positions, rates[1:], quaternions[1:], c.bounds)
            )
        parts = velocities[-1], positions[-1], rates[-1], quaternions[-1], gust
        return torch.cat([*parts, now.wind, now.phase, now.time + 1, crashed], dim=1)

    def observation(self, state: Tensor) -> Tensor:
        """Velocity and position along the body's axes, angular velocity, vector part of the quaternion: [N, 12]."""
        parts = self.split(state)
        world = torch.stack([parts.velocity, parts.position], dim=1)
        body = world @ _matrices(parts.quaternion, self._constants.matrix)
        return torch.cat([body.flatten(1), parts.rate, parts.quaternion[:, :3]], dim=1)

    def reward(self, state: Tensor, action: Tensor, next_state: Tensor) -> Tensor:
        """The sum above, or that of all steps that a crash leaves out: [N]."""
        parts = self.split(next_state)
        deviation = torch.cat([parts.velocity, parts.position, parts.rate, parts.quaternion[:, :3]], dim=1)
        lost = model.CRASH_REWARD * (model.EPISODE_STEPS - parts.time[:, 0])
        return torch.where(self.terminal(next_state), lost, -deviation.square().sum(1))

    def terminal(self, state: Tensor) -> Tensor:
        """Whether the helicopter has crashed: bool [N]."""
        return state[:, -1] > 0.5

    def _velocities(self, now: State, rotation: Tensor, force: Tensor) -> Tensor:
        """Velocities before each Euler step and after the last one, [11, N, 3].

            v_{k+1} = v_k + dt (R_k (force - D R_k' v_k - W R_k' wind) + g)

        `rotation` is R [10, N, 3, 3], `force` the acceleration along the body's axes without drag [N, 3].
        """
        c = self._constants
        angle = self.wind_frequency * self.dt * now.time + now.phase
        wind = now.wind + self.wind_amplitude * angle.sin()
        wind = torch.cat([wind, torch.zeros_like(wind[:, :1])], dim=1)[:, :, None]
        turned = rotation.mT
        push = force[:, :, None] - c.wind_drag * (turned @ wind)
        constant = model.DT * (rotation @ push + c.gravity)
        decay = c.identity - model.DT * (rotation * c.velocity_drag) @ turned
        # As products with 4 x 4 matrices, of velocities with a 1 appended.
        matrices = torch.cat([torch.cat([decay, constant], dim=3), c.last_row.expand(*decay.shape[:2], 1, 4)], dim=2)
        return _through(torch.cat([now.velocity, torch.ones_like(now.time)], dim=1), matrices)[..., :3]


class _Constants(NamedTuple):
    """Tensors of the model's numbers.

    rate_powers [11, 1, 3] and rate_sums [11, 1, 3] give the angular velocity after k Euler steps:
    d^k omega + dt (1 + d + ... + d^(k-1)) acceleration, with d = 1 - dt * drag.
    """

    noise_std: Tensor
    rate_powers: Tensor
    rate_sums: Tensor
    rate_gain: Tensor
    side_thrust: Tensor
    velocity_drag: Tensor
    wind_drag: Tensor
    gravity: Tensor
    identity: Tensor
    last_row: Tensor
    matrix: Tensor
    product: Tensor
    bounds: Tensor

    @classmethod
    def on(cls, device: torch.device, dtype: torch.dtype) -> _Constants:
        """The numbers on a device."""

        def column(*numbers: float) -> Tensor:
            return torch.tensor(numbers, dtype=torch.float64)[:, None]

        decay = 1 - model.DT * column(*model.RATE_DRAG).mT
        powers = torch.stack([decay**k for k in range(model.SUBSTEPS + 1)])
        numbers = (
            (1 - model.NOISE_MEMORY) * model.NOISE_FACTOR * column(*model.NOISE_STD).mT,
            powers,
            model.DT * (1 - powers) / (1 - decay),
            column(*model.RATE_GAIN).mT,
            column(0.0, model.SIDE_THRUST, 0.0).mT,
            column(*model.VELOCITY_DRAG).mT,
            column(*model.WIND_DRAG),
            column(0.0, 0.0, model.GRAVITY),
            torch.eye(3),
            torch.tensor([[0.0, 0.0, 0.0, 1.0]]),
            _rotation_terms(),
            _product_terms(),
            column(*[model.MAX_VELOCITY] * 3, *[model.MAX_POSITION] * 3, *[model.MAX_RATE] * 3).mT,
        )
        return cls(*(number.to(device, dtype) for number in numbers))


def _rotation_terms() -> Tensor:
    """The matrix of a rotation as a linear function of the products q_i q_j of its quaternion x, y, z, w: [16, 9]."""
    x, y, z, w = range(4)
    terms = [
        *([(x, x, 1), (y, y, -1), (z, z, -1), (w, w, 1)], [(x, y, 2), (z, w, -2)], [(x, z, 2), (y, w, 2)]),
        *([(x, y, 2), (z, w, 2)], [(x, x, -1), (y, y, 1), (z, z, -1), (w, w, 1)], [(y, z, 2), (x, w, -2)]),
        *([(x, z, 2), (y, w, -2)], [(y, z, 2), (x, w, 2)], [(x, x, -1), (y, y, -1), (z, z, 1), (w, w, 1)]),
    ]
    matrix = torch.zeros(16, 9)
    for entry, products in enumerate(terms):
        for i, j, factor in products:
            matrix[4 * i + j, entry] = factor
    return matrix


def _product_terms() -> Tensor:
    """The matrix M with M q = q p, the product of quaternions x, y, z, w, as a linear function of p: [4, 16]."""
    x, y, z, w = torch.eye(4).unbind(1)
    rows = (w, z, -y, x), (-z, w, x, y), (y, -x, w, z), (-x, -y, -z, w)
    return torch.stack([entry for row in rows for entry in row], dim=1)


def _matrices(quaternion: Tensor, terms: Tensor) -> Tensor:
    """Rotation matrices from the body's to the world's axes, [..., 3, 3], of quaternions [..., 4]."""
    products = quaternion[..., :, None] * quaternion[..., None, :]
    return (products.flatten(-2) @ terms).unflatten(-1, (3, 3))


def _rotations(rate: Tensor) -> Tensor:
    """Quaternions [..., 4] of rotations with angular velocities [..., 3] for an Euler step."""
    half = 0.5 * model.DT * rate
    angle = (half.square().sum(-1, keepdim=True) + 1e-30).sqrt()  # its derivative at zero is zero
    return torch.cat([half * (angle.sin() / angle), angle.cos()], dim=-1)


def _through(start: Tensor, matrices: Tensor) -> Tensor:
    """`start` [N, 4], and its products with the first 1, 2, ..., K of `matrices` [K, N, 4, 4]: [K + 1, N, 4].

    The products of the first 2^j matrices are computed for all at once, in log2(K) steps.
    """
    count, done = len(matrices), 1
    while done < count:
        matrices = torch.cat([matrices[:done], matrices[done:] @ matrices[:-done]])
        done *= 2
    return torch.cat([start[None], (matrices @ start[:, :, None])[..., 0]])


def _beyond(velocity: Tensor, position: Tensor, rate: Tensor, quaternion: Tensor, bounds: Tensor) -> Tensor:
    """Whether any of K states [K, N, ...] is outside the bounds: 0 or 1, [N, 1]."""
    size = torch.cat([velocity, position, rate], dim=2).abs()
    outside = (size > bounds).any(2) | (quaternion[..., 3] < model.MIN_QW)
    return outside.any(0)[:, None].to(velocity)
