"""The feature of a box nearest to the segment of a capsule: a face, an edge or a corner."""

import warp as wp

from diffsim.collision.collide_box import clamped
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import ONE, X64, real, vec3

TINY = wp.constant(real(1.0e-15))  # in m^2 and m^4
# In float32 an edge also counts as parallel to the capsule if the squared sine of their angle is a rounding error.
PARALLEL = wp.constant(real(0.0 if X64 else 1.0e-6))
NONE = wp.constant(-1)
FAR = wp.constant(real(1.0e20))  # m^2


@wp.struct
class Nearest:
    """The nearest features of box and segment."""

    end: int  # -1 or 1 for that end of the segment near a face; 0 for an edge
    face: int  # axis across that face; NONE if the end is inside the box
    corner: int  # lower end of that edge; bit k is set on the upper side of axis k
    edge: int  # axis along that edge; NONE if nothing was found


@wp.struct
class EdgePoints:
    """Closest points of an edge and a segment."""

    on_edge: real
    on_segment: real
    side: int  # -1 or 1 if the place on the edge was clamped to that end at any time, else 0


@differentiable
def end_of(x: real) -> int:
    """-1 below -1, 1 above 1, else 0."""
    if x > ONE:
        return 1
    if x < -ONE:
        return -1
    return 0


@differentiable
def edge_middle(size: vec3, corner: int, edge: int, k: int) -> real:
    """Component k of the middle of an edge."""
    if k == edge:
        return real(0.0)
    if (corner & (1 << k)) != 0:
        return size[k]
    return -size[k]


@differentiable
def edge_points(pos: vec3, half: vec3, size: vec3, corner: int, edge: int) -> EdgePoints:
    """Closest points of an edge and the segment pos + t half; clamps the place on the edge first."""
    offset = (
        vec3(
            edge_middle(size, corner, edge, 0),
            edge_middle(size, corner, edge, 1),
            edge_middle(size, corner, edge, 2),
        )
        - pos
    )
    a = size[edge] * size[edge]
    b = -size[edge] * half[edge]
    c = wp.dot(half, half)
    u = -size[edge] * offset[edge]
    v = wp.dot(half, offset)
    determinant = a * c - b * b
    on_edge = (c * u - b * v) / determinant
    side = end_of(on_edge)
    on_segment = (a * v - b * u) / determinant
    if side != 0:
        on_segment = (v - real(side) * b) / c
    end = end_of(on_segment)
    if end == 0:
        return EdgePoints(clamped(on_edge, ONE), on_segment, side)
    back = (u - real(end) * b) / a
    if end_of(back) != 0:
        side = end_of(back)
    return EdgePoints(clamped(back, ONE), real(end), side)


@no_gradient
def nearest_features(pos: vec3, half: vec3, size: vec3) -> Nearest:
    """Searches in MuJoCo's order and breaks ties as MuJoCo does. The features are a discrete choice."""
    nearest = Nearest(0, NONE, 0, NONE)
    best = real(1.0) * FAR
    for i in range(2):
        tip = pos + real(2 * i - 1) * half
        outside = int(0)
        face = int(NONE)
        for k in range(3):
            if wp.abs(tip[k]) > size[k]:
                outside += 1
                face = k
        if outside <= 1:
            distance = real(0.0)
            if outside == 1:
                distance = (wp.abs(tip[face]) - size[face]) * (wp.abs(tip[face]) - size[face])
            if distance < best:
                best = distance
                nearest = Nearest(2 * i - 1, face, 0, 0)
    length2 = wp.dot(half, half)
    for edge in range(3):
        for corner in range(8):
            scale = size[edge] * size[edge] * length2
            sine2 = scale - size[edge] * size[edge] * half[edge] * half[edge]
            if (corner & (1 << edge)) == 0 and wp.abs(sine2) >= wp.max(TINY, PARALLEL * scale):
                p = edge_points(pos, half, size, corner, edge)
                distance = real(0.0)
                for k in range(3):
                    gap = edge_middle(size, corner, edge, k) - pos[k] - p.on_segment * half[k]
                    if k == edge:
                        gap += size[k] * p.on_edge
                    distance += gap * gap
                if distance < best - TINY:
                    best = distance
                    nearest = Nearest(0, NONE, corner, edge)
    return nearest
