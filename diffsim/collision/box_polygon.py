"""The polygon where a face of one box and the most opposed face of another overlap, projected along the normal.

The opposed face is clipped to the sides of the first face. Each corner of the clipped polygon is the intersection of
two lines: edges of the opposed face (0 to 3) or sides of the first face (4 to 7). The corner's gradient comes from
these lines.
Source: MuJoCo, `mjraw_BoxBox`; Sutherland & Hodgman (1974), Reentrant polygon clipping.
"""

import warp as wp

from diffsim.collision.contact_frame import axis_of
from diffsim.collision.gradient_call import differentiable
from diffsim.types import ONE, ZERO, mat33, real, vec3

MOST = wp.constant(8)  # corners of a quadrilateral that is cut four times

corners8 = wp.types.matrix((8, 3), real)
lines8 = wp.types.vector(8, int)


@wp.struct
class Faces:
    """A face and the opposed one, in the first face's coordinates: x, y in the plane, z the height above it."""

    size_x: real  # half sizes of the face
    size_y: real
    center: vec3  # of the opposed face
    u: vec3  # from there to two of its edges
    v: vec3


@wp.struct
class Polygon:
    """The clipped face: corners, the two lines that cross at each, and the line to the next corner."""

    count: int
    corner: corners8
    first: lines8
    second: lines8
    line: lines8


@wp.struct
class Corner:
    """A corner of the polygon: the two lines that cross there, and the lines that coincide with them or they again."""

    first: int
    second: int
    first_twin: int
    second_twin: int


@differentiable
def in_face(x: vec3, axis: int, side: real) -> vec3:
    """Components of x along the two axes that follow `axis`, and along the outward normal."""
    return vec3(x[(axis + 1) % 3], x[(axis + 2) % 3], side * x[axis])


@differentiable
def from_face(x: vec3, axis: int, side: real) -> vec3:
    """The inverse of in_face."""
    if axis == 0:
        return vec3(side * x[2], x[0], x[1])
    if axis == 1:
        return vec3(x[1], side * x[2], x[0])
    return vec3(x[0], x[1], side * x[2])


@differentiable
def side_of(x: real) -> real:
    """1 if x is not negative, else -1."""
    if x >= ZERO:
        return real(1.0)
    return real(-1.0)


@differentiable
def opposed_axis(rot: mat33, axis: int) -> int:
    """The other box's axis across its most opposed face."""
    opposed = int(0)
    if wp.abs(rot[axis, 1]) > wp.abs(rot[axis, 0]):
        opposed = 1
    if wp.abs(rot[axis, 2]) > wp.abs(rot[axis, opposed]):
        opposed = 2
    return opposed


@differentiable
def opposed_faces(size: vec3, other: vec3, pos: vec3, rot: mat33, axis: int) -> Faces:
    """The face of a box towards another box, and the other box's most opposed face."""
    side = side_of(pos[axis])
    opposed = opposed_axis(rot, axis)
    towards = real(1.0)
    if side * rot[axis, opposed] > ZERO:
        towards = real(-1.0)
    center = in_face(pos + (towards * other[opposed]) * axis_of(rot, opposed), axis, side)
    u = (opposed + 1) % 3
    v = (opposed + 2) % 3
    return Faces(
        size[(axis + 1) % 3],
        size[(axis + 2) % 3],
        center - vec3(ZERO, ZERO, size[axis]),
        in_face(other[u] * axis_of(rot, u), axis, side),
        in_face(other[v] * axis_of(rot, v), axis, side),
    )


@differentiable
def opposed_corner(f: Faces, k: int) -> vec3:
    """Start of line k of the opposed face."""
    if k == 0:
        return f.center + f.u + f.v
    if k == 1:
        return f.center - f.u + f.v
    if k == 2:
        return f.center - f.u - f.v
    return f.center + f.u - f.v


@wp.func
def cut_polygon(p: Polygon, line: int, size: real) -> Polygon:
    """Cuts a polygon at one side of a face: lines 4, 5 at x = size, -size; lines 6, 7 at y = size, -size."""
    k = (line - 4) // 2
    side = ONE - real(2 * (line % 2))
    cut = Polygon()
    n = int(0)
    for i in range(p.count):
        j = (i + 1) % p.count
        here = side * p.corner[i, k] - size
        there = side * p.corner[j, k] - size
        if here <= ZERO and n < MOST:
            cut.corner[n] = p.corner[i]
            cut.first[n] = p.first[i]
            cut.second[n] = p.second[i]
            cut.line[n] = p.line[i]
            if there > ZERO and here == ZERO:
                cut.line[n] = line
            n += 1
        if ((here < ZERO and there > ZERO) or (here > ZERO and there < ZERO)) and n < MOST:
            cut.corner[n] = p.corner[i] + (here / (here - there)) * (p.corner[j] - p.corner[i])
            cut.first[n] = p.line[i]
            cut.second[n] = line
            cut.line[n] = p.line[i]
            if there > ZERO:
                cut.line[n] = line
            n += 1
    cut.count = n
    return cut


@wp.func
def clipped_polygon(f: Faces) -> Polygon:
    """The opposed face, clipped to the sides of the face."""
    p = Polygon()
    p.count = 4
    for k in range(4):
        p.corner[k] = opposed_corner(f, k)
        p.first[k] = (k + 3) % 4
        p.second[k] = k
        p.line[k] = k
    p = cut_polygon(p, 4, f.size_x)
    p = cut_polygon(p, 5, f.size_x)
    p = cut_polygon(p, 6, f.size_y)
    return cut_polygon(p, 7, f.size_y)
