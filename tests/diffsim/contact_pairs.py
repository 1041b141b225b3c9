"""Two geoms in any pose: their contacts and the contacts' gradient, in C MuJoCo and in our simulator."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import mujoco
import numpy as np
import warp as wp

from diffsim.collision.geometry import CANDIDATES, COLLIDERS, Geom, contact_frame, contraction_of, turning
from diffsim.collision.gradient_call import calls_gradient
from diffsim.types import mat33, numpy_dtype, real, vec3

MOST = 8  # contacts of one pair
KINDS = {kind: int(getattr(mujoco.mjtGeom, f"mjGEOM_{kind.upper()}")) for kind in (
    "plane", "sphere", "capsule", "ellipsoid", "cylinder", "box")}  # fmt: skip


@dataclass(frozen=True)
class Contacts:
    """Contacts at N poses: their number, and distance, position and frame of each; zero beyond the number."""

    count: np.ndarray  # [N]
    dist: np.ndarray  # [N, MOST] m
    pos: np.ndarray  # [N, MOST, 3] m
    frame: np.ndarray  # [N, MOST, 3, 3]

    def flat(self) -> np.ndarray:
        """[N, MOST, 13]: distance, position and frame."""
        return np.concatenate([self.dist[..., None], self.pos, self.frame.reshape(*self.dist.shape, 9)], axis=-1)


@dataclass(frozen=True)
class Poses:
    """Positions and rotation matrices of both geoms."""

    pos: np.ndarray  # [N, 2, 3] m
    mat: np.ndarray  # [N, 2, 3, 3]

    def __len__(self) -> int:
        return len(self.pos)

    def __getitem__(self, index) -> "Poses":
        return Poses(self.pos[index], self.mat[index])


class Pair:
    """Two geoms, the first of the lower kind.

    Args:
        kinds: of both geoms, by MJCF name.
        sizes: of both geoms, in m, three numbers each.
        margin: detection distance, in m.
    """

    def __init__(self, kinds: tuple[str, str], sizes, margin: float) -> None:
        bodies = "".join(
            f"<body>{'<freejoint/>' if kind != 'plane' else ''}<geom type='{kind}' size='.1 .1 .1'/></body>"
            for kind in kinds
        )
        self.mj_model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")
        self.kinds = tuple(KINDS[kind] for kind in kinds)
        self.sizes = np.array(sizes, dtype=np.float64)
        self.margin = margin
        self.mj_model.geom_size[:] = self.sizes
        self.mj_model.geom_margin[0] = margin
        # Bounding volumes only exclude pairs; the sizes were set after compilation.
        self.mj_model.geom_rbound[[kind != "plane" for kind in kinds]] = 100.0
        self.mj_model.geom_aabb[:, 3:] = 100.0
        self.mj_data = mujoco.MjData(self.mj_model)

    def reference(self, poses: Poses) -> Contacts:
        """Contacts in C MuJoCo. Also overwrites the poses by those that C used, rounded through a quaternion."""
        result = _empty(len(poses))
        for i in range(len(poses)):
            self._place(poses.pos[i], poses.mat[i])
            # Discrete choices depend on the last bit.
            poses.pos[i] = self.mj_data.geom_xpos
            poses.mat[i] = self.mj_data.geom_xmat.reshape(2, 3, 3)
            contacts = self.mj_data.contact
            result.count[i] = len(contacts)
            for k in range(len(contacts)):
                result.dist[i, k] = contacts.dist[k]
                result.pos[i, k] = contacts.pos[k]
                result.frame[i, k] = contacts.frame[k].reshape(3, 3)
        return result

    def _place(self, pos: np.ndarray, mat: np.ndarray) -> None:
        """Moves both bodies and detects their contacts."""
        adr = 0
        for k in range(2):
            quat = np.empty(4)
            mujoco.mju_mat2Quat(quat, mat[k].ravel())
            if self.mj_model.body_jntnum[k + 1]:
                self.mj_data.qpos[adr : adr + 3] = pos[k]
                self.mj_data.qpos[adr + 3 : adr + 7] = quat
                adr += 7
            else:
                self.mj_model.body_pos[k + 1] = pos[k]
                self.mj_model.body_quat[k + 1] = quat
        mujoco.mj_kinematics(self.mj_model, self.mj_data)
        mujoco.mj_comPos(self.mj_model, self.mj_data)
        mujoco.mj_collision(self.mj_model, self.mj_data)

    def contacts(self, poses: Poses) -> Contacts:
        """Contacts in our simulator."""
        result = _empty(len(poses), numpy_dtype)
        self._launch(poses, result, np.zeros((len(poses), MOST, 13)))
        return result

    def gradient(self, poses: Poses, bar: np.ndarray) -> np.ndarray:
        """[N, MOST, 12]: force and torque on both geoms, for cotangents [N, MOST, 13] of `flat`."""
        return self._launch(poses, _empty(len(poses), numpy_dtype), bar)

    def _launch(self, poses: Poses, result: Contacts, bar: np.ndarray) -> np.ndarray:
        n = len(poses)
        out = [wp.zeros((n, MOST), dtype=dtype, device="cpu") for dtype in (real, vec3, mat33)]
        gradient = wp.zeros((n, MOST, 4), dtype=vec3, device="cpu")
        count = wp.zeros(n, dtype=int, device="cpu")
        inputs = [
            *CANDIDATES[self.kinds],
            vec3(*self.sizes[0]),
            vec3(*self.sizes[1]),
            real(self.margin),
            wp.array(poses.pos.astype(numpy_dtype), dtype=vec3, device="cpu"),
            wp.array(poses.mat.astype(numpy_dtype), dtype=mat33, device="cpu"),
            wp.array(bar[..., 0].astype(numpy_dtype), dtype=real, device="cpu"),
            wp.array(bar[..., 1:4].astype(numpy_dtype), dtype=vec3, device="cpu"),
            wp.array(bar[..., 4:].reshape(n, MOST, 3, 3).astype(numpy_dtype), dtype=mat33, device="cpu"),
        ]
        wp.launch(pair_kernel(*self.kinds), n, inputs=[*inputs, count, *out, gradient], device="cpu")
        result.count[:] = count.numpy()
        for field, array in zip((result.dist, result.pos, result.frame), out, strict=True):
            field[:] = array.numpy()
        return gradient.numpy().reshape(n, MOST, 12)


def _empty(n: int, dtype=np.float64) -> Contacts:
    shapes = ((n, MOST), (n, MOST, 3), (n, MOST, 3, 3))
    return Contacts(np.zeros(n, dtype=int), *(np.zeros(shape, dtype) for shape in shapes))


@cache
def pair_kernel(kind1: int, kind2: int) -> wp.Kernel:
    """Detects the contacts of two kinds of geoms, and computes their gradient."""
    collide = COLLIDERS[kind1, kind2]
    module = wp.get_module(f"tests.pair.{collide.key}")
    contraction = contraction_of(kind1, kind2, module)

    @calls_gradient(module=module)
    def store_gradient(
        geom1: Geom,
        geom2: Geom,
        candidate: int,
        margin: real,
        distance_bar: real,
        position_bar: vec3,
        frame_bar: mat33,
        out: wp.array(dtype=vec3),
    ):
        bar = wp.grad(contraction)(geom1, geom2, candidate, margin, distance_bar, position_bar, frame_bar)
        bar1 = bar[0]
        bar2 = bar[1]
        out[0] = bar1.pos
        out[1] = turning(geom1.mat, bar1.mat)
        out[2] = bar2.pos
        out[3] = turning(geom2.mat, bar2.mat)

    @wp.kernel(enable_backward=False, module=module)
    def kernel(
        # In:
        candidates: int,
        most: int,
        size1: vec3,
        size2: vec3,
        margin: real,
        pos_in: wp.array2d(dtype=vec3),
        mat_in: wp.array2d(dtype=mat33),
        distance_bar_in: wp.array2d(dtype=real),
        position_bar_in: wp.array2d(dtype=vec3),
        frame_bar_in: wp.array2d(dtype=mat33),
        # Out:
        count_out: wp.array(dtype=int),
        dist_out: wp.array2d(dtype=real),
        position_out: wp.array2d(dtype=vec3),
        frame_out: wp.array2d(dtype=mat33),
        gradient_out: wp.array3d(dtype=vec3),
    ):
        pose = wp.tid()
        geom1 = Geom(size1, pos_in[pose, 0], mat_in[pose, 0])
        geom2 = Geom(size2, pos_in[pose, 1], mat_in[pose, 1])
        n = wp.int32(0)
        for candidate in range(candidates):
            if n < most:
                g = collide(geom1, geom2, candidate, margin)
                if g.distance <= margin:
                    dist_out[pose, n] = g.distance
                    position_out[pose, n] = g.position
                    frame_out[pose, n] = contact_frame(g.normal, g.tangent)
                    store_gradient(
                        geom1,
                        geom2,
                        candidate,
                        margin,
                        distance_bar_in[pose, n],
                        position_bar_in[pose, n],
                        frame_bar_in[pose, n],
                        gradient_out[pose, n],
                    )
                    n += 1
        count_out[pose] = n

    return kernel


# ----------------------------------------------------------------------------------------------------- poses


def rotations(rng: np.random.Generator, n: int) -> np.ndarray:
    """[n, 3, 3] uniform rotations."""
    q = rng.standard_normal((n, 4))
    return np.array([rotation_of(x / np.linalg.norm(x)) for x in q])


def rotation_of(quat: np.ndarray) -> np.ndarray:
    """Rotation matrix of a unit quaternion."""
    mat = np.empty(9)
    mujoco.mju_quat2Mat(mat, quat)
    return mat.reshape(3, 3)


def turn(mat: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """A rotation matrix turned by a rotation vector in world axes, in rad."""
    angle = np.linalg.norm(theta)
    if angle == 0:
        return mat
    quat = np.concatenate([[np.cos(angle / 2)], np.sin(angle / 2) * theta / angle])
    return rotation_of(quat) @ mat


def moved(poses: Poses, direction: int, step: float) -> Poses:
    """All poses moved along one of 12 directions: translation, rotation of the first geom, of the second."""
    geom, k = divmod(direction, 6)
    pos, mat = poses.pos.copy(), poses.mat.copy()
    if k < 3:
        pos[:, geom, k] += step
    else:
        theta = step * np.eye(3)[k - 3]
        mat[:, geom] = np.array([turn(m, theta) for m in mat[:, geom]])
    return Poses(pos, mat)


def differences(
    contacts: Callable[[Poses], Contacts], poses: Poses, bar: np.ndarray, step: float = 2e-4
) -> tuple[np.ndarray, np.ndarray]:
    """Extrapolated central differences [N, MOST, 12] of contacts, and which contacts are far from a switch.

    Near a switch, a step half as long gives a different value.
    """
    expected = np.zeros((len(poses), MOST, 12))
    smooth = np.ones((len(poses), MOST), dtype=bool)
    count = contacts(poses).count
    for direction in range(12):
        slopes = []
        for h in (step, step / 2):
            ahead, behind = (contacts(moved(poses, direction, x)) for x in (h, -h))
            slopes.append(((ahead.flat() - behind.flat()) / (2 * h) * bar).sum(-1))
            smooth &= ((ahead.count == count) & (behind.count == count))[:, None]
        expected[..., direction] = (4 * slopes[1] - slopes[0]) / 3
        smooth &= np.abs(slopes[1] - slopes[0]) <= 1e-4 * np.maximum(np.abs(slopes[1]), 1.0)
    return expected, smooth
