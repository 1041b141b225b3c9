"""Shapes of geoms and sites: where a ray meets them, and whether a point is inside. Source: `engine_ray.c` of MuJoCo.

Points and directions are in the shape's own axes, [..., 3]; sizes [..., 3] are broadcast with them.
"""

from collections.abc import Callable

import mujoco
import torch
from torch import Tensor

Geom = mujoco.mjtGeom
INF = float("inf")


def _roots(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Both solutions of a x^2 + 2 b x + c = 0, in ascending order; infinite where there is none."""
    det = b * b - a * c
    exists = (det >= 0) & (a >= mujoco.mjMINVAL)
    root = torch.where(exists & (det > 0), det, 1.0).sqrt() * (det > 0)  # no infinite gradient at zero
    scale = torch.where(exists, a, 1.0)
    first, second = (torch.where(exists, (-b + sign * root) / scale, INF) for sign in (-1, 1))
    return first, second


def _first(*distances: Tensor) -> Tensor:
    """The smallest of the distances that are not negative, else infinity."""
    valid = [torch.where(distance >= 0, distance, INF) for distance in distances]
    return torch.stack(valid).amin(0)


def _along(point: Tensor, direction: Tensor, distance: Tensor) -> Tensor:
    """The point on the ray, the start where the distance is infinite."""
    return point + torch.where(distance.isfinite(), distance, 0.0)[..., None] * direction


def _plane(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    faces = direction[..., 2] <= -mujoco.mjMINVAL
    distance = torch.where(faces, -point[..., 2] / torch.where(faces, direction[..., 2], 1.0), INF)
    place = _along(point, direction, distance)[..., :2].abs()
    within = ((size[..., :2] <= 0) | (place <= size[..., :2])).all(-1)
    return _first(torch.where(within, distance, INF))


def _ellipsoid(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    p, d = point / size, direction / size
    return _first(*_roots((d * d).sum(-1), (d * p).sum(-1), (p * p).sum(-1) - 1))


def _sphere(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    square = size[..., 0] * size[..., 0]
    return _first(
        *_roots((direction * direction).sum(-1), (direction * point).sum(-1), (point * point).sum(-1) - square)
    )


def _side(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    """The round side of a cylinder."""
    p, d = point[..., :2], direction[..., :2]
    distance = _first(*_roots((d * d).sum(-1), (d * p).sum(-1), (p * p).sum(-1) - size[..., 0] * size[..., 0]))
    height = _along(point, direction, distance)[..., 2].abs()
    return torch.where(height <= size[..., 1], distance, INF)


def _capsule(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    found = [_side(size, point, direction)]
    for end in (1, -1):
        middle = torch.zeros_like(point)
        middle[..., 2] = end * size[..., 1]
        p = point - middle
        c = p.square().sum(-1) - size[..., 0].square()
        for distance in _roots(direction.square().sum(-1), (direction * p).sum(-1), c):
            beyond = end * _along(point, direction, distance)[..., 2] >= size[..., 1]
            found.append(torch.where(beyond, distance, INF))
    return _first(*found)


def _faces(half: Tensor, point: Tensor, direction: Tensor, axis: int) -> list[Tensor]:
    """Distances to the two planes at +- half along an axis."""
    crosses = direction[..., axis].abs() > mujoco.mjMINVAL
    speed = torch.where(crosses, direction[..., axis], 1.0)
    return [torch.where(crosses, (sign * half - point[..., axis]) / speed, INF) for sign in (-1, 1)]


def _cylinder(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    found = [_side(size, point, direction)]
    for distance in _faces(size[..., 1], point, direction, 2):
        radius = _along(point, direction, distance)[..., :2].square().sum(-1)
        found.append(torch.where(radius <= size[..., 0] * size[..., 0], distance, INF))
    return _first(*found)


def _box(size: Tensor, point: Tensor, direction: Tensor) -> Tensor:
    found = []
    for axis in range(3):
        others = [i for i in range(3) if i != axis]
        for distance in _faces(size[..., axis], point, direction, axis):
            place = _along(point, direction, distance)[..., others].abs()
            found.append(torch.where((place <= size[..., others]).all(-1), distance, INF))
    return _first(*found)


RAYS: dict[int, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    int(Geom.mjGEOM_PLANE): _plane,
    int(Geom.mjGEOM_SPHERE): _sphere,
    int(Geom.mjGEOM_CAPSULE): _capsule,
    int(Geom.mjGEOM_ELLIPSOID): _ellipsoid,
    int(Geom.mjGEOM_CYLINDER): _cylinder,
    int(Geom.mjGEOM_BOX): _box,
}
"""Distance, in units of the direction's length, along a ray to each kind of shape; infinite if it misses."""


def inside(kind: int, size: Tensor, point: Tensor) -> Tensor:
    """Whether a point is inside a shape (`mju_insideGeom`), bool [...]."""
    x, y, z = point.unbind(-1)
    round_ = x * x + y * y
    if kind == Geom.mjGEOM_PLANE:
        return z < 0
    if kind == Geom.mjGEOM_SPHERE:
        return round_ + z * z < size[..., 0] ** 2
    if kind == Geom.mjGEOM_CAPSULE:
        beyond = (z.abs() - size[..., 1]).clamp_min(0)
        return round_ + beyond * beyond < size[..., 0] ** 2
    if kind == Geom.mjGEOM_ELLIPSOID:
        return (point / size).square().sum(-1) < 1
    if kind == Geom.mjGEOM_CYLINDER:
        return (z.abs() < size[..., 1]) & (round_ < size[..., 0] ** 2)
    return (point.abs() < size).all(-1)
