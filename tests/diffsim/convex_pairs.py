"""Pairs of convex geoms for tests: models, states in which they touch, or nearly, and C MuJoCo's contacts there."""

from dataclasses import dataclass

import mujoco
import numpy as np
import torch

from .engine import simulator, tensors
from .reference import tangent_basis

TIGHT = 'ccd_tolerance="1e-13" ccd_iterations="300"'


def _mesh(name: str, vertices: np.ndarray) -> str:
    numbers = " ".join(f"{x:.9g}" for x in vertices.ravel())
    return f'<mesh name="{name}" vertex="{numbers}"/>'


def _ball_of_vertices(count: int, seed: int, size: tuple[float, ...] = (0.1, 0.15, 0.12)) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True) * size


def _prism(sides: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.stack([0.1 * np.cos(angle), 0.1 * np.sin(angle)], axis=1)
    return np.concatenate([np.column_stack([ring, np.full(sides, z)]) for z in (-0.1, 0.1)])


MESHES = "".join(
    [
        _mesh("rock", _ball_of_vertices(40, 0)),  # searched along its edges
        _mesh("pebble", _ball_of_vertices(8, 1)),  # searched vertex by vertex
        _mesh("disc", _ball_of_vertices(400, 3, (0.1, 0.11, 0.02))),  # with faces that are nearly parallel
        _mesh("brick", np.array(np.meshgrid((-0.1, 0.1), (-0.12, 0.12), (-0.08, 0.08))).T.reshape(-1, 3)),
        _mesh("prism", _prism(12)),
    ]
)
GEOMS = {name: f'type="mesh" mesh="{name}"' for name in ("rock", "pebble", "disc", "brick", "prism")} | {
    "plane": 'type="plane" size="1 1 1"',
    "field": 'type="hfield" hfield="ground" euler="3 5 10" pos=".1 .05 0"',
    "sphere": 'type="sphere" size=".12"',
    "capsule": 'type="capsule" size=".08 .15"',
    "ellipsoid": 'type="ellipsoid" size=".1 .15 .2"',
    "ball": 'type="ellipsoid" size=".12 .12 .12"',
    "cylinder": 'type="cylinder" size=".1 .15"',
    "box": 'type="box" size=".1 .12 .15"',
}
FIXED = ("plane", "field")
_HEIGHTS = np.random.default_rng(2).uniform(size=(8, 9))
_HEIGHTS[:4] = 0.8  # a plateau
_ELEVATION = " ".join(f"{x:.9g}" for x in _HEIGHTS.ravel())
GROUND = f'<hfield name="ground" nrow="8" ncol="9" size="1 .8 .2 .1" elevation="{_ELEVATION}"/>'


@dataclass(frozen=True)
class Touching:
    """A model of two geoms, and states in which they are at most some millimetres apart or in each other."""

    model: mujoco.MjModel
    qpos: np.ndarray  # [N, nq]


def touching(first: str, second: str, count: int, *, flat: bool, margin: float = 0.0, option: str = "") -> Touching:
    """States of two of `GEOMS`.

    Args:
        first: the first geom; a plane or height field is fixed.
        second: the second.
        count: N.
        flat: whether the geoms stand on each other, tilted by a thousandth at most, or are turned at random.
        margin: of the pair, m.
        option: attributes of <option>.
    """
    joint = "" if first in FIXED else "<freejoint/>"
    model = mujoco.MjModel.from_xml_string(
        f"<mujoco><option gravity='0 0 0' {option}/><asset>{MESHES}{GROUND}</asset><worldbody>"
        f"<body>{joint}<geom {GEOMS[first]} margin='{margin}'/></body>"
        f"<body><freejoint/><geom {GEOMS[second]}/></body></worldbody></mujoco>"
    )
    rng, data, states = np.random.default_rng(0), mujoco.MjData(model), []
    for _ in range(count):
        qpos = np.zeros(model.nq)
        for adr in range(0, model.nq, 7):
            qpos[adr + 3 : adr + 7] = _standing(rng) if flat else _turned(rng)
        upward = flat or first in FIXED
        away = np.array([*(0.15 * rng.normal(size=2)), 1.0]) if upward else _turned(rng)[1:]
        away /= np.linalg.norm(away)
        near, far = 0.0, 1.0
        start = np.array([*rng.uniform(-0.6, 0.6, size=2), 0]) if first == "field" else np.zeros(3)
        for _ in range(40):
            middle = (near + far) / 2
            qpos[-7:-4] = start + middle * away
            apart = _distance(model, data, qpos) > 1e-9
            near, far = (near, middle) if apart else (middle, far)
        qpos[-7:-4] = start + (far - rng.uniform(-0.002, 0.01)) * away
        states.append(qpos.copy())
    return Touching(model, np.array(states))


def _turned(rng: np.random.Generator) -> np.ndarray:
    quat = rng.normal(size=4)
    return quat / np.linalg.norm(quat)


def _standing(rng: np.random.Generator) -> np.ndarray:
    """On one of six sides, turned around the vertical, and tilted a little."""
    axis, angle, heading = rng.integers(3), rng.integers(4) * np.pi / 2, rng.uniform(0, 2 * np.pi)
    side = np.array([np.cos(angle / 2), *(np.sin(angle / 2) * np.eye(3)[axis])])
    turn = np.array([np.cos(heading / 2), 0, 0, np.sin(heading / 2)])
    tilt = np.array([1, *(5e-4 * rng.normal(size=3))])
    quat = np.empty(4)
    mujoco.mju_mulQuat(quat, turn, side)
    mujoco.mju_mulQuat(quat, tilt / np.linalg.norm(tilt), quat.copy())
    return quat


def _distance(model: mujoco.MjModel, data: mujoco.MjData, qpos: np.ndarray) -> float:
    """Of the two geoms, m; of a plane or a height field only whether the other is off it."""
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    if model.geom_type[0] in (mujoco.mjtGeom.mjGEOM_PLANE, mujoco.mjtGeom.mjGEOM_HFIELD):
        mujoco.mj_collision(model, data)
        return float(not any(contact.dist < 0 for contact in data.contact))
    return mujoco.mj_geomDistance(model, data, 0, 1, 10.0, None)


def reference(model: mujoco.MjModel, data: mujoco.MjData, qpos: np.ndarray) -> np.ndarray:
    """Contacts of C MuJoCo at a state, as distance, position and frame: [n, 13]."""
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_collision(model, data)
    return np.array([[c.dist, *c.pos, *c.frame] for c in data.contact]).reshape(-1, 13)


def found(model: mujoco.MjModel, qpos: torch.Tensor) -> tuple[np.ndarray, torch.Tensor]:
    """Number of contacts at each state [N], and distance, position and frame of each [N, C, 13]."""
    state = torch.cat([qpos, qpos.new_zeros(len(qpos), model.nv)], dim=1)
    contacts = simulator(model, len(qpos)).contacts(state, qpos.new_zeros(len(qpos), 0))
    parts = contacts.distance[..., None], contacts.position, contacts.frame.flatten(-2)
    return contacts.count.numpy(), torch.cat(parts, dim=-1)


def directional(model: mujoco.MjModel, qpos: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Derivative of the weighted sum of all contacts at each state, by the coordinates' tangent: [N, nv]."""
    (q,) = tensors(qpos, requires_grad=True)
    _, contacts = found(model, q)
    (gradient,) = torch.autograd.grad((contacts * torch.as_tensor(weights)).sum(), q)
    return np.array([row @ tangent_basis(model, x) for row, x in zip(gradient.numpy(), qpos, strict=True)])


def nearest(contacts: np.ndarray, contact: np.ndarray, place: int) -> int:
    """Index of a contact among others [C, 13]; that at its own place if several are equal."""
    distance = np.abs(contacts - contact).max(axis=1)
    return place if distance[place] <= distance.min() + 1e-9 else int(distance.argmin())


def differences(model: mujoco.MjModel, qpos: np.ndarray, weights: np.ndarray, ours: np.ndarray, eps: float):
    """Central differences of the same sum in C MuJoCo; NaN where the number of contacts changes."""
    data, result = mujoco.MjData(model), np.zeros((len(qpos), model.nv))
    for i, x in enumerate(qpos):
        base = reference(model, data, x)
        order = [nearest(ours[i], contact, place) for place, contact in enumerate(base)]
        for dof in range(model.nv):
            values = []
            for sign in (1, -1):
                moved = x.copy()
                mujoco.mj_integratePos(model, moved, sign * eps * np.eye(model.nv)[dof], 1.0)
                rows = reference(model, data, moved)
                same = len(rows) == len(base) and len(base) > 0 and np.abs(rows - base).max() < 100 * eps
                values.append((rows * weights[i, order]).sum() if same else np.nan)
            result[i, dof] = (values[0] - values[1]) / (2 * eps)
    return result
