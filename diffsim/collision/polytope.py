"""The expanding polytope: faces and vertices in a world's working memory, and the simplices from which it starts.

The numbers of a face are its three vertices, the faces across its three edges, and its place in the list of open faces:
UNLISTED, or DELETED. All functions take the working memory, and the place of a thread's polytope in it.
Source: MuJoCo, `polytope2`, `polytope3`, `polytope4`, `horizonRec`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Support
from diffsim.collision.gjk import Simplex, Vertex
from diffsim.collision.simplex import affine_coordinates, determinant, origin_on_plane
from diffsim.physics.scratch import Scratch
from diffsim.types import ONE, ZERO, mat33, real, vec3

UNLISTED = wp.constant(-1)
DELETED = wp.constant(-2)
NEIGHBOUR = wp.constant(3)  # first number of a face's neighbours
PLACE = wp.constant(6)
VERTICES = wp.constant(0)  # what `polytope_count` counts
FACES = wp.constant(1)
OPEN = wp.constant(2)
HORIZON = wp.constant(3)
SIN_120 = wp.constant(real(0.86602540378))  # with MuJoCo's digits
COS_120 = wp.constant(real(-0.5))


@wp.func(inline=True)
def add_vertex(s: Scratch, world: int, slot: int, v: Vertex) -> int:
    """Appends a vertex and returns its index."""
    k = s.rare[0].polytope_count[world, slot, VERTICES]
    s.rare[0].polytope_count[world, slot, VERTICES] = k + 1
    s.rare[0].polytope_point[world, slot, k, 0] = v.point
    s.rare[0].polytope_point[world, slot, k, 1] = v.first.point
    s.rare[0].polytope_point[world, slot, k, 2] = v.second.point
    s.rare[0].polytope_vertex[world, slot, k, 0] = v.first.vertex
    s.rare[0].polytope_vertex[world, slot, k, 1] = v.second.vertex
    return k


@wp.func(inline=True)
def add_corner(s: Scratch, world: int, slot: int, simplex: Simplex, k: int) -> int:
    """Appends a corner of a simplex."""
    first = Support(simplex.point1[k], simplex.vertex1[k], -1)
    second = Support(simplex.point2[k], simplex.vertex2[k], -1)
    return add_vertex(s, world, slot, Vertex(simplex.point[k], first, second))


@wp.func(inline=True)
def vertex_point(s: Scratch, world: int, slot: int, k: int) -> vec3:
    """A vertex in the Minkowski difference."""
    return s.rare[0].polytope_point[world, slot, k, 0]


@wp.func(inline=True)
def add_face(
    s: Scratch, world: int, slot: int, centre: vec3, x: int, y: int, z: int, next_x: int, next_y: int, next_z: int
) -> real:
    """Appends a face, and returns its squared distance from the origin; 0 if its vertices have no plane."""
    face = s.rare[0].polytope_count[world, slot, FACES]
    s.rare[0].polytope_count[world, slot, FACES] = face + 1
    s.rare[0].polytope_face[world, slot, face, 0] = x
    s.rare[0].polytope_face[world, slot, face, 1] = y
    s.rare[0].polytope_face[world, slot, face, 2] = z
    s.rare[0].polytope_face[world, slot, face, 3] = next_x
    s.rare[0].polytope_face[world, slot, face, 4] = next_y
    s.rare[0].polytope_face[world, slot, face, 5] = next_z
    s.rare[0].polytope_face[world, slot, face, PLACE] = UNLISTED
    point_x = vertex_point(s, world, slot, x)
    foot, flat = origin_on_plane(vertex_point(s, world, slot, z), vertex_point(s, world, slot, y), point_x)
    if not flat:
        return real(0.0)
    if wp.dot(foot, point_x - centre) < ZERO:
        foot = -foot
    square = wp.dot(foot, foot)
    s.rare[0].polytope_foot[world, slot, face] = foot
    s.rare[0].polytope_distance2[world, slot, face] = square
    return square


@wp.func(inline=True)
def open_face(s: Scratch, world: int, slot: int, face: int):
    """Lists a face among those that can be the closest."""
    place = s.rare[0].polytope_count[world, slot, OPEN]
    s.rare[0].polytope_count[world, slot, OPEN] = place + 1
    s.rare[0].polytope_open[world, slot, place] = face
    s.rare[0].polytope_face[world, slot, face, PLACE] = place


@wp.func(inline=True)
def delete_face(s: Scratch, world: int, slot: int, face: int):
    """Takes a face out of the polytope; the last of the list takes its place there."""
    place = s.rare[0].polytope_face[world, slot, face, PLACE]
    if place >= 0:
        last = s.rare[0].polytope_count[world, slot, OPEN] - 1
        s.rare[0].polytope_count[world, slot, OPEN] = last
        moved = s.rare[0].polytope_open[world, slot, last]
        s.rare[0].polytope_open[world, slot, place] = moved
        s.rare[0].polytope_face[world, slot, moved, PLACE] = place
    s.rare[0].polytope_face[world, slot, face, PLACE] = DELETED


@wp.func(inline=True)
def edge_from(s: Scratch, world: int, slot: int, face: int, vertex: int) -> int:
    """The edge of a face that starts at a vertex."""
    if s.rare[0].polytope_face[world, slot, face, 0] == vertex:
        return 0
    if s.rare[0].polytope_face[world, slot, face, 1] == vertex:
        return 1
    return 2


@wp.func(inline=True)
def cut_horizon(s: Scratch, world: int, slot: int, face: int, w: vec3):
    """Deletes a face and all faces around it that w sees, and lists the edges where they end.

    Edges to visit are a stack at the end of `polytope_edge`; the horizon grows from its start.
    """
    delete_face(s, world, slot, face)
    top = s.rare[0].polytope_edge.shape[2]
    bottom = top
    for k in range(3):
        edge = 2 - k
        across = s.rare[0].polytope_face[world, slot, face, NEIGHBOUR + edge]
        top -= 1
        s.rare[0].polytope_edge[world, slot, top, 0] = across
        start = s.rare[0].polytope_face[world, slot, face, (edge + 1) % 3]
        s.rare[0].polytope_edge[world, slot, top, 1] = edge_from(s, world, slot, across, start)
    count = int(0)
    while top < bottom:
        seen = s.rare[0].polytope_edge[world, slot, top, 0]
        entry = s.rare[0].polytope_edge[world, slot, top, 1]
        top += 1
        if s.rare[0].polytope_face[world, slot, seen, PLACE] != DELETED:
            square = s.rare[0].polytope_distance2[world, slot, seen]
            if wp.dot(s.rare[0].polytope_foot[world, slot, seen], w) - square > MINVAL:
                delete_face(s, world, slot, seen)
                for k in range(2):
                    edge = (entry + 2 - k) % 3
                    across = s.rare[0].polytope_face[world, slot, seen, NEIGHBOUR + edge]
                    top -= 1
                    s.rare[0].polytope_edge[world, slot, top, 0] = across
                    start = s.rare[0].polytope_face[world, slot, seen, (edge + 1) % 3]
                    s.rare[0].polytope_edge[world, slot, top, 1] = edge_from(s, world, slot, across, start)
            else:
                s.rare[0].polytope_edge[world, slot, count, 0] = seen
                s.rare[0].polytope_edge[world, slot, count, 1] = entry
                count += 1
    s.rare[0].polytope_count[world, slot, HORIZON] = count


@wp.func
def turn_120(axis: vec3) -> mat33:
    """The rotation by 120 degrees around an axis."""
    u = (ONE / wp.length(axis)) * axis
    c = ONE - COS_120
    return mat33(
        COS_120 + u[0] * u[0] * c,
        u[0] * u[1] * c - u[2] * SIN_120,
        u[0] * u[2] * c + u[1] * SIN_120,
        u[1] * u[0] * c + u[2] * SIN_120,
        COS_120 + u[1] * u[1] * c,
        u[1] * u[2] * c - u[0] * SIN_120,
        u[0] * u[2] * c - u[1] * SIN_120,
        u[1] * u[2] * c + u[0] * SIN_120,
        COS_120 + u[2] * u[2] * c,
    )


@wp.func
def same_side(x: vec3, y: vec3, z: vec3, p: vec3) -> bool:
    """Whether the origin and p are on one side of the plane of three points."""
    n = wp.cross(y - x, z - x)
    there = wp.dot(n, p - x)
    here = -wp.dot(n, x)
    return (there > ZERO and here > ZERO) or (there < ZERO and here < ZERO)


@wp.func
def holds_origin(x: vec3, y: vec3, z: vec3, p: vec3) -> bool:
    """Whether a tetrahedron contains the origin."""
    return same_side(x, y, z, p) and same_side(y, z, p, x) and same_side(z, p, x, y) and same_side(p, x, y, z)


@wp.func
def crosses(start: vec3, end: vec3, x: vec3, y: vec3, z: vec3) -> bool:
    """Whether a line through two points crosses a triangle."""
    along = end - start
    one = determinant(x - start, y - start, along)
    two = determinant(y - start, z - start, along)
    three = determinant(z - start, x - start, along)
    return (one >= ZERO and two >= ZERO and three >= ZERO) or (one <= ZERO and two <= ZERO and three <= ZERO)


@wp.func
def on_triangle(x: vec3, y: vec3, z: vec3, p: vec3) -> bool:
    """Whether a triangle contains a point."""
    c = affine_coordinates(x, y, z, p)
    if c[0] < ZERO or c[1] < ZERO or c[2] < ZERO:
        return False
    return wp.length(c[0] * x + c[1] * y + c[2] * z - p) < MINVAL
