"""Slopes of a step of C MuJoCo on both sides of an exact state, where the step may have a kink or a jump."""

from dataclasses import dataclass

import mujoco
import numpy as np

from .contact_reference import Tracer
from .reference import Stepper, difference, displace

# Steps in positions, velocities and controls: small against the widths, about 1e-3, over which impedances change.
STEPS = (1e-6, 1e-5, 1e-4)
SAME = 1e-5  # relative difference of the two sides above which there is no derivative
ALIKE = 1e-3  # as SAME for slopes that are not extrapolated; and the change under smaller steps that shows a jump
# Smallest sizes of slopes of position, velocity and activation; below, differences are rounding errors.
FLOORS = (1e-4, 1e-3, 1e-3)
NEARBY = 16  # states near the exact one


@dataclass
class Sides:
    """Slopes along K directions at a state: from it to both sides [T, K], and at states nearby [NEARBY, T, K].

    `jumps` [K] are the directions in which the step has a jump. At an isolated state the sets of contacts and of active
    constraints are not those of any state nearby: the step jumps, even if its result happens to be continuous.
    `still` [T, K] are the slopes without any motion or force; errors are relative to the rest. T is 2 nv + na.
    """

    ahead: np.ndarray
    behind: np.ndarray
    nearby: np.ndarray
    jumps: np.ndarray
    still: np.ndarray
    isolated: bool
    nv: int

    def __post_init__(self) -> None:
        """Derives which directions have a derivative, and the scale of errors."""
        sides = np.abs(np.stack([self.ahead, self.behind]) - self.still)
        parts = np.split(sides, [self.nv, 2 * self.nv], axis=1)
        self.scale = np.concatenate(
            [
                np.broadcast_to(np.maximum(part.max((0, 1), initial=0.0), floor), part.shape[1:])
                for part, floor in zip(parts, FLOORS, strict=True)
            ]
        )
        smooth = (np.abs(self.ahead - self.behind) <= SAME * self.scale).all(0)
        alike = (np.abs(self.nearby - self.ahead) <= ALIKE * self.scale).all((0, 1))
        self.exists = smooth & alike & ~self.jumps

    def errors(self, slopes: np.ndarray) -> tuple[float, float]:
        """Largest relative error of slopes [T, K] where there is a derivative, and outside the range elsewhere."""
        exact = (np.abs(slopes - (self.ahead + self.behind) / 2) / self.scale).max(0)
        sides = np.concatenate([self.ahead[None], self.behind[None], self.nearby])
        outside = (np.maximum(np.maximum(sides.min(0) - slopes, slopes - sides.max(0)), 0) / self.scale).max(0)
        counts = ~self.exists & ~self.jumps & (not self.isolated)
        return exact[self.exists].max(initial=0.0), outside[counts].max(initial=0.0)


def directions(mj_model: mujoco.MjModel) -> np.ndarray:
    """The coordinate directions [T + nu, K] of state, T = 2 nv + na, and control, and half as many random ones."""
    n = 2 * mj_model.nv + mj_model.na + mj_model.nu
    mixed = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], (n, (n + 1) // 2))
    return np.concatenate([np.eye(n), mixed], axis=1)


def sides(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, along: np.ndarray) -> Sides:
    """Slopes of one step of C MuJoCo from a state [nq + nv + na] and a control [nu] along `directions`."""
    nv, na = mj_model.nv, mj_model.na
    cut = 2 * nv + na
    stepper, tracer = Stepper(mj_model), Tracer(mj_model)
    unit = np.repeat(STEPS, [nv, nv + na, mj_model.nu])

    def point(shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return displace(mj_model, state, shift[:cut]), ctrl + shift[cut:]

    centre = stepper.step(state, ctrl)
    ahead, behind, jumps = [], [], []
    sizes = [unit[direction != 0].min(initial=1.0) for direction in along.T]
    for direction, size in zip(along.T, sizes, strict=True):
        jump = False
        for sign, slopes in ((1, ahead), (-1, behind)):
            one, half, quarter = (
                sign * difference(mj_model, centre, stepper.step(*point(sign * h * direction))) / h
                for h in (size, size / 2, size / 4)
            )
            slopes.append((8 * quarter - 6 * half + one) / 3)
            change = np.abs(slopes[-1] - (2 * quarter - half)).max()
            jump |= change > ALIKE * max(np.abs(slopes[-1]).max(), ALIKE)
        jumps.append(jump)
    places = unit * np.random.default_rng(1).uniform(-1, 1, (NEARBY, len(unit)))
    signatures = [list(tracer.signatures(*point(place), 1)) for place in places]
    nearby = []
    for place in places:
        columns = []
        for direction, size in zip(along.T, sizes, strict=True):
            ends = (stepper.step(*point(place + sign * 1e-2 * size * direction)) for sign in (1, -1))
            plus, minus = (difference(mj_model, centre, end) for end in ends)
            columns.append((plus - minus) / (2e-2 * size))
        nearby.append(np.array(columns).T)
    isolated = list(tracer.signatures(state, ctrl, 1)) not in signatures
    return Sides(np.array(ahead).T, np.array(behind).T, np.array(nearby), np.array(jumps), along[:cut], isolated, nv)
