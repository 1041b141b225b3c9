"""Tetrahedra and hexahedra from which a polytope starts, and its faces as simplices."""

import warp as wp

from diffsim.collision.convex_shape import MINVAL2
from diffsim.collision.gjk import Simplex, vec4i
from diffsim.collision.polytope import (
    FACES,
    add_face,
    open_face,
)
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, real, vec3

vec6i = wp.types.vector(6, wp.int32)
# by face: its vertices (of a hexahedron the first is a tip), then its neighbours
TETRAHEDRON_1 = wp.constant(vec4i(0, 0, 0, 3))
TETRAHEDRON_2 = wp.constant(vec4i(1, 3, 2, 2))
TETRAHEDRON_3 = wp.constant(vec4i(2, 1, 3, 1))
TETRAHEDRON_4 = wp.constant(vec4i(1, 2, 0, 2))
TETRAHEDRON_5 = wp.constant(vec4i(3, 3, 3, 0))
TETRAHEDRON_6 = wp.constant(vec4i(2, 0, 1, 1))
HEXAHEDRON_2 = wp.constant(vec6i(0, 2, 1, 1, 0, 2))
HEXAHEDRON_3 = wp.constant(vec6i(1, 0, 2, 0, 2, 1))
HEXAHEDRON_4 = wp.constant(vec6i(1, 2, 0, 5, 3, 4))
HEXAHEDRON_5 = wp.constant(vec6i(3, 4, 5, 0, 1, 2))
HEXAHEDRON_6 = wp.constant(vec6i(2, 0, 1, 4, 5, 3))


@wp.func(inline=True)
def clear_polytope(s: Scratch, world: int, slot: int):
    """No vertices, no faces."""
    for k in range(4):
        s.rare[0].polytope_count[world, slot, k] = 0


@wp.func(inline=True)
def face_as_simplex(s: Scratch, world: int, slot: int, x: int, y: int, z: int) -> Simplex:
    """Three vertices of the polytope."""
    simplex = Simplex()
    simplex.count = 3
    point = simplex.point
    point1 = simplex.point1
    point2 = simplex.point2
    vertex1 = simplex.vertex1
    vertex2 = simplex.vertex2
    for k in range(3):
        v = x
        if k == 1:
            v = y
        if k == 2:
            v = z
        for i in range(3):
            point[k, i] = s.rare[0].polytope_point[world, slot, v, 0][i]
            point1[k, i] = s.rare[0].polytope_point[world, slot, v, 1][i]
            point2[k, i] = s.rare[0].polytope_point[world, slot, v, 2][i]
        vertex1[k] = s.rare[0].polytope_vertex[world, slot, v, 0]
        vertex2[k] = s.rare[0].polytope_vertex[world, slot, v, 1]
    return Simplex(3, point, point1, point2, vertex1, vertex2)


@wp.func
def centre_of(simplex: Simplex) -> vec3:
    """Of 2 to 4 corners."""
    p = simplex.point
    if simplex.count == 2:
        return HALF * (p[0] + p[1])
    if simplex.count == 3:
        return (ONE / real(3.0)) * (p[0] + p[1] + p[2])
    return real(0.25) * (p[0] + p[1] + p[2] + p[3])


@wp.func(inline=True)
def open_all(s: Scratch, world: int, slot: int):
    """Lists all faces."""
    for face in range(s.rare[0].polytope_count[world, slot, FACES]):
        open_face(s, world, slot, face)


@wp.func(inline=True)
def attach_tetrahedron(s: Scratch, world: int, slot: int, centre: vec3) -> int:
    """Attaches the faces of the first four vertices; returns a face on which the origin lies, -1 for none."""
    faces = int(4)
    for k in range(faces):
        x = TETRAHEDRON_1[k]
        y = TETRAHEDRON_2[k]
        z = TETRAHEDRON_3[k]
        square = add_face(s, world, slot, centre, x, y, z, TETRAHEDRON_4[k], TETRAHEDRON_5[k], TETRAHEDRON_6[k])
        if square < MINVAL2:
            return k
    return -1


@wp.func(inline=True)
def attach_hexahedron(s: Scratch, world: int, slot: int, centre: vec3, tips: int, ring: int) -> int:
    """As `attach_tetrahedron`: two tips and a ring of three vertices, each numbered on from its first."""
    faces = int(6)
    for k in range(faces):
        x = tips + k / 3
        y = ring + HEXAHEDRON_2[k]
        z = ring + HEXAHEDRON_3[k]
        square = add_face(s, world, slot, centre, x, y, z, HEXAHEDRON_4[k], HEXAHEDRON_5[k], HEXAHEDRON_6[k])
        if square < MINVAL2:
            return k
    return -1
