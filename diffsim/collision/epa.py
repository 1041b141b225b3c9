"""Penetration of two convex shapes: the expanding polytope algorithm, as in C MuJoCo.

From a polytope in the Minkowski difference that contains the origin, the face closest to the origin is replaced by
faces to a support point beyond it, until there is none. Source: MuJoCo, `epa`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Shape, Support, is_discrete
from diffsim.collision.first_polytope import unit
from diffsim.collision.gjk import FAR, difference
from diffsim.collision.polytope import (
    FACES,
    HORIZON,
    NEIGHBOUR,
    OPEN,
    add_face,
    add_vertex,
    cut_horizon,
    open_face,
)
from diffsim.collision.simplex import affine_coordinates
from diffsim.physics.model_arrays import RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import ZERO, real, vec3

APART = wp.constant(real(1.0e-10))  # m; a first support point this far below its face means that nothing touches


@wp.struct
class Penetration:
    """The face of the polytope that is closest to the origin, -1 if there is none, and the witness points."""

    face: int
    distance: real  # m, negative
    point1: vec3
    point2: vec3
    first: Support
    second: Support


@wp.func(inline=True)
def closest_face(s: Scratch, world: int, slot: int, before: int) -> int:
    """The open face that is closest to the origin, of equal ones the first; `before` if none is open."""
    face = before
    least = real(FAR)
    for i in range(s.rare[0].polytope_count[world, slot, OPEN]):
        other = s.rare[0].polytope_open[world, slot, i]
        square = s.rare[0].polytope_distance2[world, slot, other]
        if square < least:
            face = other
            least = square
    return face


@wp.func(inline=True)
def is_known(s: Scratch, world: int, slot: int, w: int, alike: bool) -> bool:
    """Whether an earlier vertex of the polytope has the same two vertices of the shapes as w.

    If the first shape's vertices are alike, its numbers are not compared.
    """
    for k in range(w):
        same = alike or s.rare[0].polytope_vertex[world, slot, w, 0] == s.rare[0].polytope_vertex[world, slot, k, 0]
        if same and s.rare[0].polytope_vertex[world, slot, w, 1] == s.rare[0].polytope_vertex[world, slot, k, 1]:
            return True
    return False


@wp.func(inline=True)
def close_horizon(s: Scratch, world: int, slot: int, centre: vec3, w: int, least: real, greatest: real) -> bool:
    """Attaches faces from w to all edges of the horizon; false if one of them has no plane.

    Faces whose squared distances are between `least` and `greatest` are open.
    """
    start = s.rare[0].polytope_count[world, slot, FACES]
    edges = s.rare[0].polytope_count[world, slot, HORIZON]
    for i in range(edges):
        across = s.rare[0].polytope_edge[world, slot, i, 0]
        edge = s.rare[0].polytope_edge[world, slot, i, 1]
        from_vertex = s.rare[0].polytope_face[world, slot, across, edge]
        to_vertex = s.rare[0].polytope_face[world, slot, across, (edge + 1) % 3]
        s.rare[0].polytope_face[world, slot, across, NEIGHBOUR + edge] = start + i
        before = start + (i + edges - 1) % edges
        after = start + (i + 1) % edges
        square = add_face(s, world, slot, centre, w, to_vertex, from_vertex, before, across, after)
        if square == ZERO:
            return False
        if square >= least and square <= greatest:
            open_face(s, world, slot, start + i)
    return True


@wp.func(inline=True)
def expand(
    rare: wp.array(dtype=RareArrays),
    s: Scratch,
    world: int,
    slot: int,
    a: Shape,
    b: Shape,
    first: Support,
    second: Support,
    centre: vec3,
    tolerance: real,
    limit: int,
    alike: bool,
) -> Penetration:
    """Expands the first polytope, whose centre is given. `alike`: see `is_known`."""
    discrete = is_discrete(a) and is_discrete(b)
    enough = tolerance
    if discrete:
        enough = MINVAL
    upper = real(FAR)
    upper2 = real(FAR)
    face = int(-1)
    room = s.rare[0].polytope_face.shape[2]
    going = bool(True)
    step = int(0)
    while going and step < limit:
        going = False  # unless a vertex is added
        before = face
        face = closest_face(s, world, slot, before)
        lower2 = real(FAR)
        if face >= 0:
            lower2 = s.rare[0].polytope_distance2[world, slot, face]
        if lower2 > upper2:
            face = before
        elif face >= 0 and lower2 > ZERO:
            lower = wp.sqrt(lower2)
            foot = s.rare[0].polytope_foot[world, slot, face]
            v = difference(rare, a, b, unit(foot), first, second)
            first = v.first
            second = v.second
            w = add_vertex(s, world, slot, v)
            reach = wp.dot(foot, v.point) / lower
            if reach < upper:
                upper = reach
                upper2 = upper * upper
            if reach - lower < enough:
                if step == 0 and upper < lower - APART:
                    face = -1
            elif not (discrete and is_known(s, world, slot, w, alike)):
                cut_horizon(s, world, slot, face, v.point)
                edges = s.rare[0].polytope_count[world, slot, HORIZON]
                if edges < 3:
                    face = -1
                elif edges <= room - s.rare[0].polytope_count[world, slot, FACES]:
                    if not close_horizon(s, world, slot, centre, w, lower2, upper2):
                        face = -1
                    elif s.rare[0].polytope_count[world, slot, OPEN] > 0:
                        going = True
        step += 1
    result = Penetration(face, real(0.0), vec3(), vec3(), first, second)
    if face >= 0:
        x = s.rare[0].polytope_face[world, slot, face, 0]
        y = s.rare[0].polytope_face[world, slot, face, 1]
        z = s.rare[0].polytope_face[world, slot, face, 2]
        c = affine_coordinates(
            s.rare[0].polytope_point[world, slot, x, 0],
            s.rare[0].polytope_point[world, slot, y, 0],
            s.rare[0].polytope_point[world, slot, z, 0],
            s.rare[0].polytope_foot[world, slot, face],
        )
        result.distance = -wp.sqrt(s.rare[0].polytope_distance2[world, slot, face])
        result.point1 = (
            c[0] * s.rare[0].polytope_point[world, slot, x, 1]
            + c[1] * s.rare[0].polytope_point[world, slot, y, 1]
            + c[2] * s.rare[0].polytope_point[world, slot, z, 1]
        )
        result.point2 = (
            c[0] * s.rare[0].polytope_point[world, slot, x, 2]
            + c[1] * s.rare[0].polytope_point[world, slot, y, 2]
            + c[2] * s.rare[0].polytope_point[world, slot, z, 2]
        )
    return result
