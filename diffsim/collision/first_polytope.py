"""The polytope from which expansion starts: around a segment, a triangle, or from a tetrahedron.

If the origin lies on a face, MuJoCo starts again from that face.
Source: MuJoCo, `polytope2`, `polytope3`, `polytope4`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Shape, Support
from diffsim.collision.gjk import Simplex, difference
from diffsim.collision.polytope import (
    add_corner,
    add_vertex,
    crosses,
    holds_origin,
    on_triangle,
    turn_120,
    vertex_point,
)
from diffsim.collision.polytope_parts import (
    attach_hexahedron,
    attach_tetrahedron,
    centre_of,
    clear_polytope,
    face_as_simplex,
    open_all,
)
from diffsim.physics.model_arrays import RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ONE, ZERO, vec3


@wp.struct
class Start:
    """The first polytope: whether there is one, its centre, and where the searches among vertices ended."""

    found: int
    centre: vec3
    first: Support
    second: Support


@wp.func
def shortest_axis(x: vec3) -> vec3:
    """The axis along which a vector is shortest."""
    axis = vec3(ONE, ZERO, ZERO)
    if wp.abs(x[1]) < wp.abs(x[0]):
        axis = vec3(ZERO, ONE, ZERO)
    if wp.abs(x[2]) < wp.min(wp.abs(x[0]), wp.abs(x[1])):
        axis = vec3(ZERO, ZERO, ONE)
    return axis


@wp.func
def unit(x: vec3) -> vec3:
    """X / |x|; the first axis for a vector without length."""
    length = wp.length(x)
    if length > MINVAL:
        return x / length
    return vec3(ONE, ZERO, ZERO)


@wp.func(inline=True)
def around_segment(
    rare: wp.array(dtype=RareArrays),
    s: Scratch,
    world: int,
    slot: int,
    a: Shape,
    b: Shape,
    simplex: Simplex,
    first: Support,
    second: Support,
):
    """The polytope of a segment and three support points around it.

    Returns: 1 if it was made, 0 if not, -1 if the origin lies on a face; that face; the last searches.
    """
    x = simplex.point[0]
    y = simplex.point[1]
    along = y - x
    d = wp.cross(shortest_axis(along), along)
    turn = turn_120(along)
    add_corner(s, world, slot, simplex, 0)
    add_corner(s, world, slot, simplex, 1)
    points = int(3)
    for _ in range(points):
        v = difference(rare, a, b, unit(d), first, second)
        first = v.first
        second = v.second
        add_vertex(s, world, slot, v)
        d = turn * d
    face = attach_hexahedron(s, world, slot, centre_of(simplex), 0, 2)
    made = int(-1)
    if face < 0:
        made = 0
        around1 = vertex_point(s, world, slot, 2)
        if crosses(x, y, around1, vertex_point(s, world, slot, 3), vertex_point(s, world, slot, 4)):
            made = 1
    return made, face, first, second


@wp.func(inline=True)
def around_triangle(
    rare: wp.array(dtype=RareArrays),
    s: Scratch,
    world: int,
    slot: int,
    a: Shape,
    b: Shape,
    simplex: Simplex,
    first: Support,
    second: Support,
):
    """The polytope of a triangle and a support point on either side.

    Returns: 1 if it was made, 0 if not; the last searches.
    """
    x = simplex.point[0]
    y = simplex.point[1]
    z = simplex.point[2]
    n = wp.cross(y - x, z - x)
    made = int(0)
    if wp.length(n) >= MINVAL:
        below = difference(rare, a, b, unit(-n), first, second)
        above = difference(rare, a, b, unit(n), below.first, below.second)
        first = above.first
        second = above.second
        if not on_triangle(x, y, z, above.point) and not on_triangle(x, y, z, below.point):
            add_vertex(s, world, slot, above)
            add_vertex(s, world, slot, below)
            for k in range(3):
                add_corner(s, world, slot, simplex, k)
            if attach_hexahedron(s, world, slot, centre_of(simplex), 0, 2) < 0:
                made = 1
    return made, first, second


@wp.func(inline=True)
def first_polytope(
    rare: wp.array(dtype=RareArrays),
    s: Scratch,
    world: int,
    slot: int,
    a: Shape,
    b: Shape,
    simplex: Simplex,
    first: Support,
    second: Support,
) -> Start:
    """Makes the first polytope around a simplex of 2 to 4 corners."""
    clear_polytope(s, world, slot)
    made = int(0)
    face = int(-1)
    start = simplex
    if simplex.count == 4:
        for k in range(4):
            add_corner(s, world, slot, simplex, k)
        p = simplex.point
        face = attach_tetrahedron(s, world, slot, centre_of(simplex))
        if face < 0 and holds_origin(p[0], p[1], p[2], p[3]):
            made = 1
    elif simplex.count == 2:
        made, face, first, second = around_segment(rare, s, world, slot, a, b, simplex, first, second)
    if face >= 0:
        x = s.rare[0].polytope_face[world, slot, face, 0]
        y = s.rare[0].polytope_face[world, slot, face, 1]
        start = face_as_simplex(s, world, slot, x, y, s.rare[0].polytope_face[world, slot, face, 2])
        clear_polytope(s, world, slot)
    if start.count == 3:
        made, first, second = around_triangle(rare, s, world, slot, a, b, start, first, second)
    if made == 1:
        open_all(s, world, slot)
    return Start(made, centre_of(start), first, second)
