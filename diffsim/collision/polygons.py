"""Faces and edges of boxes, meshes and cylinders: those that meet at some vertices, their normals and corners.

The faces of a box are numbered +x, -x, +y, -y, +z, -z, its vertices by the bits of their positive coordinates. A
cylinder has two faces, its caps, upper and lower, which are taken as polygons of 16 corners. Its vertices are their
rims, and its edges the lines between these. A capsule has no faces, and one edge, on its surface.
Source: MuJoCo, `boxNormals`, `meshNormals`, `boxFace`, `meshFace`.
"""

import math

import warp as wp

from diffsim.collision.convex_shape import BOX, CAPSULE, CYLINDER, Shape
from diffsim.collision.polytope_parts import vec6i
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import ONE, ZERO, real, vec3

vec3i = wp.types.vector(3, wp.int32)
ALIGNED = wp.constant(real(0.996))  # cosine between two faces that touch each other, or between a face and a normal
# by face of a box: for each of its four corners, the signs of its two other coordinates as bits
BOX_CORNERS = wp.constant(vec6i(135, 45, 180, 30, 30, 75))


CAP_CORNERS = wp.constant(16)
vec16 = wp.types.vector(16, real)
# with MuJoCo's digits, on which its choice among equal contacts depends
CAP_COS = wp.constant(vec16(*(round(math.cos(k * math.pi / 8), 15) for k in range(16))))
CAP_SIN = wp.constant(vec16(*(round(math.sin(k * math.pi / 8), 15) for k in range(16))))


@wp.func
def cap_side(face: int) -> real:
    """1 for a cylinder's upper cap, -1 for the lower one."""
    if face == 0:
        return real(1.0)
    return real(-1.0)


@wp.struct
class Faces:
    """Faces of a shape: few in `some`, or `count` at an address of `mesh_polymap`."""

    count: int
    address: int  # -1: `some`
    some: vec3i


@wp.func
def face_number(rare: wp.array(dtype=RareArrays), faces: Faces, i: int) -> int:
    """The i-th of the faces."""
    if faces.address < 0:
        return faces.some[i]
    return rare[0].mesh_polymap[faces.address + i]


@wp.func
def face_normal(rare: wp.array(dtype=RareArrays), shape: Shape, face: int) -> vec3:
    """Outward, in the shape's frame."""
    if shape.kind == CYLINDER:
        return vec3(ZERO, ZERO, cap_side(face))
    if shape.kind == BOX:
        n = vec3()
        n[face / 2] = ONE
        if face % 2 == 1:
            n = -n
        return n
    return rare[0].mesh_polynormal[shape.polyadr + face]


@wp.func
def face_corners(rare: wp.array(dtype=RareArrays), shape: Shape, face: int) -> int:
    """Number of corners."""
    if shape.kind == BOX:
        return 4
    if shape.kind == CYLINDER:
        return CAP_CORNERS
    return rare[0].mesh_polyvertnum[shape.polyadr + face]


@wp.func
def box_corner_unit(face: int, k: int) -> vec3:
    """The signs of the coordinates of a side's k-th corner."""
    bits = BOX_CORNERS[face] >> (2 * k)
    axis = face / 2
    first = int(0)
    if axis == 0:
        first = 1
    second = int(2)
    if axis == 2:
        second = 1
    unit = vec3(-ONE, -ONE, -ONE)
    if face % 2 == 0:
        unit[axis] = ONE
    if bits & 1 == 1:
        unit[first] = ONE
    if bits & 2 == 2:
        unit[second] = ONE
    return unit


@wp.func
def face_corner(rare: wp.array(dtype=RareArrays), shape: Shape, face: int, k: int) -> vec3:
    """The k-th corner, in the shape's frame; clockwise seen from outside."""
    if shape.kind == CYLINDER:
        side = cap_side(face)
        return vec3(CAP_COS[k] * shape.size[0], -CAP_SIN[k] * shape.size[0] * side, side * shape.size[1])
    if shape.kind == BOX:
        return wp.cw_mul(box_corner_unit(face, k), shape.size)
    count = rare[0].mesh_polyvertnum[shape.polyadr + face]
    vertex = rare[0].mesh_polyvert[rare[0].mesh_polyvertadr[shape.polyadr + face] + count - 1 - k]
    return rare[0].mesh_vert[shape.vertadr + vertex]


@wp.func
def vertex_corner(rare: wp.array(dtype=RareArrays), shape: Shape, vertex: int) -> vec3:
    """A vertex of a box or mesh, in its frame."""
    if shape.kind == BOX:
        corner = -shape.size
        for k in range(3):
            if (vertex >> k) & 1 == 1:
                corner[k] = shape.size[k]
        return corner
    return rare[0].mesh_vert[shape.vertadr + vertex]


@wp.func
def faced_side(shape: Shape, toward: vec3) -> Faces:
    """The side of a box that faces a direction, if one does."""
    d = wp.normalize(wp.transpose(shape.mat) * toward)
    for face in range(6):
        along = d[face / 2]
        if face % 2 == 1:
            along = -along
        if along > ALIGNED:
            return Faces(1, -1, vec3i(face, 0, 0))
    return Faces(0, -1, vec3i(0, 0, 0))


@wp.func
def box_faces(shape: Shape, dim: int, v: vec3i, toward: vec3) -> Faces:
    """The sides on which all of `dim` vertices of a box lie; see `faces_at`."""
    count = int(0)
    some = vec3i(0, 0, 0)
    for axis in range(3):
        both = v[0] & v[1]
        either = v[0] | v[1]
        if dim == 1:
            both = v[0]
            either = v[0]
        if dim == 3:
            both = both & v[2]
            either = either | v[2]
        if (both >> axis) & 1 == 1:
            some[count] = 2 * axis
            count += 1
        elif (either >> axis) & 1 == 0:
            some[count] = 2 * axis + 1
            count += 1
    if (dim == 3 and count != 1) or (dim == 2 and count != 2):
        return faced_side(shape, toward)
    return Faces(count, -1, some)


@wp.func
def mesh_faces(rare: wp.array(dtype=RareArrays), shape: Shape, dim: int, v: vec3i) -> Faces:
    """The polygons of a mesh to which all of `dim` vertices belong; see `faces_at`."""
    start = rare[0].mesh_polymapadr[shape.vertadr + v[0]]
    size = rare[0].mesh_polymapnum[shape.vertadr + v[0]]
    if dim == 1:
        return Faces(size, start, vec3i(0, 0, 0))
    other = rare[0].mesh_polymapadr[shape.vertadr + v[1]]
    others = rare[0].mesh_polymapnum[shape.vertadr + v[1]]
    count = int(0)
    some = vec3i(0, 0, 0)
    for i in range(size):
        for j in range(others):
            if count < 2 and rare[0].mesh_polymap[start + i] == rare[0].mesh_polymap[other + j]:
                some[count] = rare[0].mesh_polymap[start + i]
                count += 1
    if dim == 2:
        return Faces(count, -1, some)
    third = rare[0].mesh_polymapadr[shape.vertadr + v[2]]
    thirds = rare[0].mesh_polymapnum[shape.vertadr + v[2]]
    for i in range(count):
        for j in range(thirds):
            if some[i] == rare[0].mesh_polymap[third + j]:
                return Faces(1, -1, vec3i(some[i], 0, 0))
    return Faces(0, -1, some)


@wp.func
def faces_at(rare: wp.array(dtype=RareArrays), shape: Shape, dim: int, v: vec3i, toward: vec3) -> Faces:
    """The faces of a box or mesh to which all of 1 to 3 different vertices belong.

    If that is not clear for a box, the side that faces a direction.
    """
    if shape.kind == BOX:
        return box_faces(shape, dim, v, toward)
    if shape.kind == CYLINDER:
        return Faces(int(dim == 1), -1, vec3i(v[0], 0, 0))
    if shape.kind == CAPSULE:
        return Faces(0, -1, vec3i(0, 0, 0))
    return mesh_faces(rare, shape, dim, v)
