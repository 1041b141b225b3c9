"""Corners of the polygon where faces of two boxes overlap, as points that move with both boxes."""

import warp as wp

from diffsim.collision.box_polygon import (
    Corner,
    Faces,
    clipped_polygon,
    lines8,
    opposed_corner,
)
from diffsim.collision.contact_frame import KINK, between3
from diffsim.collision.gradient_call import differentiable
from diffsim.types import HALF, X64, real, vec2, vec3

SAME = wp.constant(real(1.0e-14 if X64 else 1.0e-10))  # squared distance of equal corners, relative to the face's
NONE = wp.constant(-1)
OPPOSED = wp.constant(lines8(6, 5, 7, 4, 3, 1, 0, 2))  # numbers of the lines seen from the opposed face


@wp.func
def touching_lines(f: Faces, candidate: int) -> wp.vec2i:
    """The lines that cross at the polygon's corner number `candidate`, without duplicates; NONE if it has fewer."""
    p = clipped_polygon(f)
    same = SAME * (f.size_x * f.size_x + f.size_y * f.size_y)
    kept = int(0)  # a bit per corner
    count = int(0)
    for i in range(p.count):
        good = int(1)
        for j in range(i):
            dx = p.corner[i, 0] - p.corner[j, 0]
            dy = p.corner[i, 1] - p.corner[j, 1]
            if (kept & (1 << j)) != 0 and dx * dx + dy * dy < same:
                good = 0
        if good == 1:
            if count == candidate:
                return wp.vec2i(p.first[i], p.second[i])
            kept = kept | (1 << i)
            count += 1
    return wp.vec2i(NONE, NONE)


@differentiable
def seen_from_opposed(c: Corner) -> Corner:
    """The same corner with the two faces exchanged."""
    return Corner(OPPOSED[c.first], OPPOSED[c.second], OPPOSED[c.first_twin], OPPOSED[c.second_twin])


@wp.func
def twin_line(f: Faces, line: int) -> int:
    """The line of the other quadrilateral that coincides with a line of one; the line itself if there is none."""
    near = KINK * (f.size_x + f.size_y)
    for other in range(4):
        edge = line
        side = other + 4
        if line >= 4:
            edge = other
            side = line
        start = wp.abs(above_side(f, opposed_corner(f, edge), side))
        end = wp.abs(above_side(f, opposed_corner(f, (edge + 1) % 4), side))
        if start <= near and end <= near:
            return edge + side - line
    return line


@wp.func
def share_along(size: real, center: real, reach: real, tie: real) -> real:
    """The share of the opposed face, `reach` around `center`, for tilts that change the height along an axis."""
    near = KINK * size
    opposed_within = wp.abs(center) + reach <= size + near
    face_within = reach - wp.abs(center) >= size - near
    if opposed_within and face_within:
        return tie
    if opposed_within:
        return real(0.0)
    if face_within:
        return real(1.0)
    return HALF


@wp.func
def share_of_opposed(f: Faces, tie: real) -> vec2:
    """Part of the gradient along x and y that is seen from the opposed face, where the faces are parallel.

    However they tilt, MuJoCo measures along the normal of the face that reaches farther on both sides. If neither does,
    the sign of the tilt selects, and the gradient is the mean. `tie` is the share if both reach equally far.
    """
    return vec2(
        share_along(f.size_x, f.center[0], wp.abs(f.u[0]) + wp.abs(f.v[0]), tie),
        share_along(f.size_y, f.center[1], wp.abs(f.u[1]) + wp.abs(f.v[1]), tie),
    )


@differentiable
def above_side(f: Faces, x: vec3, line: int) -> real:
    """Height of a point over a side of the face, outwards."""
    side = real(1.0)
    if line % 2 == 1:
        side = real(-1.0)
    if line < 6:
        return side * x[0] - f.size_x
    return side * x[1] - f.size_y


@differentiable
def on_side(f: Faces, start: vec3, end: vec3, line: int) -> vec3:
    """Intersection of an edge and a side of the face, computed as in `cut_polygon`: they may be almost parallel."""
    before = above_side(f, start, line)
    after = above_side(f, end, line)
    return start + (before / (before - after)) * (end - start)


@differentiable
def on_corner(f: Faces, line1: int, line2: int) -> vec3:
    """Point of the opposed face below or above a corner of the face."""
    x = f.size_x
    y = f.size_y
    if line1 == 5:
        x = -x
    if line2 == 7:
        y = -y
    dx = x - f.center[0]
    dy = y - f.center[1]
    area = f.u[0] * f.v[1] - f.u[1] * f.v[0]
    s = (dx * f.v[1] - dy * f.v[0]) / area
    t = (dy * f.u[0] - dx * f.u[1]) / area
    return f.center + s * f.u + t * f.v


@differentiable
def crossing(f: Faces, line1: int, line2: int) -> vec3:
    """Intersection of two lines of the polygon, on the opposed face."""
    low = wp.min(line1, line2)
    high = wp.max(line1, line2)
    if low >= 4:
        return on_corner(f, low, high)
    if high >= 4:
        return on_side(f, opposed_corner(f, low), opposed_corner(f, (low + 1) % 4), high)
    if low == 0 and high == 3:
        return opposed_corner(f, 0)
    return opposed_corner(f, high)


@differentiable
def corner_point(f: Faces, c: Corner) -> vec3:
    """A corner of the polygon; its gradient is the mean over the lines that coincide."""
    point = crossing(f, c.first, c.second)
    if c.first == c.first_twin and c.second == c.second_twin:
        return point
    twins = crossing(f, c.first_twin, c.second_twin)
    mixed = between3(True, crossing(f, c.first_twin, c.second), crossing(f, c.first, c.second_twin))
    return between3(True, between3(True, point, twins), mixed)
