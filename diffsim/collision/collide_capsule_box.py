"""Contacts of a capsule with a box: spheres at one or two points of the capsule's segment.

First the point of the segment nearest to the box: its ends are tried against the faces, all of it against
the twelve edges. Then, if the segment runs along the box, a second point towards its other end, as far as it
stays above the same face or edge. Places on the segment, and on an edge, go from -1 to 1. All is in the box's
frame.
Source: MuJoCo, `mjraw_CapsuleBox`.
"""

import warp as wp

from diffsim.collision.collide_box import clamped, sphere_in_box_frame
from diffsim.collision.contact_frame import ContactGeometry, axis_of, no_contact
from diffsim.physics.gradient_call import differentiable, no_gradient
from diffsim.types import ONE, TWO, X64, ZERO, mat33, real, vec3

TINY = wp.constant(real(1.0e-15))  # in m^2 and m^4
# In float32 an edge is also parallel to the capsule if the squared sine of their angle is rounding.
PARALLEL = wp.constant(real(0.0 if X64 else 1.0e-6))
NONE = wp.constant(-1)
FAR = wp.constant(real(1.0e20))  # m^2


@wp.struct
class Nearest:
    """The features of box and segment that are nearest to each other."""

    end: int  # -1 or 1: that end of the segment, and a face; 0: an edge
    face: int  # axis across that face; NONE if the end is inside the box
    corner: int  # lower end of that edge; bit k is set on the upper side of axis k
    edge: int  # axis along that edge; NONE if nothing was found


@wp.struct
class EdgePoints:
    """Closest points of an edge and a segment."""

    on_edge: real
    on_segment: real
    side: int  # -1 or 1 if the place on the edge was ever clamped to that end, else 0


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
    """Closest points of an edge and the segment pos + t half: the one clamped first, then the other."""
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
    """The search; in the order, and with the tie-breaking, of MuJoCo. The features are a choice."""
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


@differentiable
def at_most(x: real, numerator: real, denominator: real) -> real:
    """The smaller of x and |numerator / denominator|; divides only if that is the smaller."""
    if wp.abs(numerator) < x * wp.abs(denominator):
        return wp.abs(numerator / denominator)
    return x


@differentiable
def until_side(x: real, tip: real, step: real, limit: real) -> real:
    """The smaller of x and the place where tip + place * step leaves [-limit, limit], if it does so."""
    leaves = at_most(x, limit - tip, step)
    if (limit - tip) * step <= ZERO:
        leaves = x
    if (-limit - tip) * step <= ZERO:
        return leaves
    return at_most(leaves, -limit - tip, step)


@wp.func
def upper_bits(x: vec3) -> int:
    """Bit k is set if component k is positive."""
    bits = int(0)
    for k in range(3):
        if x[k] > ZERO:
            bits += 1 << k
    return bits


@differentiable
def along_face(pos: vec3, half: vec3, size: vec3, nearest: Nearest) -> real:
    """Step from an end above a face to where the segment leaves the face, or to the other end."""
    back = -real(nearest.end)
    x = real(2.0)
    for k in range(3):
        if k != nearest.face:
            x = until_side(x, pos[k] - back * half[k], back * half[k], size[k])
    return back * x


@differentiable
def along_corner(half: vec3, size: vec3, place: real, differs: int) -> real:
    """Step from a corner along an edge, or along the face that the segment runs over.

    `differs` has bit k set where the segment's direction and the corner are on different sides of axis k.
    """
    sign = real(1.0)
    axis = differs >> 1  # 1, 2, 4 to 0, 1, 2
    if differs == 3 or differs == 5 or differs == 6:
        sign = real(-1.0)
        axis = (7 - differs) >> 1
    if half[axis] * half[axis] > real(0.5) * wp.dot(half, half):
        return sign * at_most(ONE - sign * place, TWO * size[axis], half[axis])
    next1 = (axis + 1) % 3
    next2 = (axis + 2) % 3
    x = at_most(ONE + sign * place, TWO * size[next1], half[next1])
    return -sign * at_most(x, TWO * size[next2], half[next2])


@differentiable
def along_edge(half: vec3, size: vec3, p: EdgePoints, edge: int, differs: int) -> real:
    """Step from the middle of an edge over the face that the segment is less inclined to."""
    across = (edge + 2) % 3
    if wp.abs(half[(edge + 1) % 3]) > wp.abs(half[across]):
        across = (edge + 1) % 3
    sign = real(-1.0)
    if (differs & (1 << across)) != 0:
        sign = real(1.0)
    x = at_most(ONE - sign * p.on_segment, TWO * size[across], half[across])
    room = ONE - p.on_edge
    if half[edge] * sign <= ZERO:
        room = ONE + p.on_edge
    return sign * at_most(x, size[edge] * room, half[edge])


@differentiable
def capsule_box(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact at the nearest point of the segment, and maybe one at a second point."""
    to_box = wp.transpose(mat2)
    pos = to_box * (pos1 - pos2)
    half = size1[1] * (to_box * axis_of(mat1, 2))
    nearest = nearest_features(pos, half, size2)
    if nearest.edge == NONE:
        return no_contact()
    if nearest.end != 0:
        place = real(nearest.end)
        if candidate == 0:
            return sphere_in_box_frame(pos + place * half, size1[0], size2, pos2, mat2)
        if nearest.face == NONE:
            return no_contact()
        step = along_face(pos, half, size2, nearest)
        return sphere_in_box_frame(pos + (place + step) * half, size1[0], size2, pos2, mat2)
    p = edge_points(pos, half, size2, nearest.corner, nearest.edge)
    if candidate == 0:
        return sphere_in_box_frame(pos + p.on_segment * half, size1[0], size2, pos2, mat2)
    corner = nearest.corner
    if p.side == 1:
        corner = corner + (1 << nearest.edge)
    differs = upper_bits(half) ^ corner
    if p.side != 0:
        if differs == 0 or differs == 7:
            return no_contact()
        step = along_corner(half, size2, p.on_segment, differs)
        return sphere_in_box_frame(pos + (p.on_segment + step) * half, size1[0], size2, pos2, mat2)
    differs = differs & (7 - (1 << nearest.edge))
    if differs != 1 and differs != 2 and differs != 4:
        return no_contact()
    step = along_edge(half, size2, p, nearest.edge, differs)
    return sphere_in_box_frame(pos + (p.on_segment + step) * half, size1[0], size2, pos2, mat2)
