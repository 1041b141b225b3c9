"""Edges of boxes, meshes and cylinders: those that meet at some vertices, and their directions."""

import warp as wp

from diffsim.collision.convex_shape import BOX, CAPSULE, CYLINDER, Shape
from diffsim.collision.polygons import cap_side, vec3i, vertex_corner
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import ZERO, real, vec3


@wp.func
def is_round(shape: Shape) -> bool:
    """Whether the shape's edges are lines along its axis."""
    return shape.kind == CYLINDER or shape.kind == CAPSULE


@wp.func
def edge_count(rare: wp.array(dtype=RareArrays), shape: Shape, dim: int, v: vec3i) -> int:
    """Number of edges that start at one vertex; 1 between two."""
    if dim == 2 or is_round(shape):
        return 1
    if shape.kind == BOX:
        return 3
    return rare[0].mesh_polymapnum[shape.vertadr + v[0]]


@wp.func
def edge_end(rare: wp.array(dtype=RareArrays), shape: Shape, dim: int, v: vec3i, i: int) -> int:
    """The vertex at which the i-th of these edges ends. Of a mesh: the one before, in the vertex's i-th polygon."""
    if is_round(shape):
        return 1 - v[0]
    if dim == 2:
        return v[1]
    if shape.kind == BOX:
        return v[0] ^ (1 << i)
    face = shape.polyadr + rare[0].mesh_polymap[rare[0].mesh_polymapadr[shape.vertadr + v[0]] + i]
    address = rare[0].mesh_polyvertadr[face]
    count = rare[0].mesh_polyvertnum[face]
    for j in range(count):
        if rare[0].mesh_polyvert[address + j] == v[0]:
            return rare[0].mesh_polyvert[address + (j + count - 1) % count]
    return v[0]


@wp.func
def edge_point(rare: wp.array(dtype=RareArrays), shape: Shape, start: int, end: int, k: int, across: vec3) -> vec3:
    """Where an edge starts, for k = 0, or ends, in the shape's frame.

    That of a cylinder or capsule is the one on the side of `across`, in the same frame. For a capsule `across` is a
    unit vector; the edge is on the rounded surface, and moved by the part of `across` that is upright on the axis.
    """
    vertex = start
    if k == 1:
        vertex = end
    if shape.kind == CYLINDER:
        out = shape.size[0] * wp.normalize(vec3(across[0], across[1], ZERO))
        return vec3(out[0], out[1], axial_side(shape, vertex) * shape.size[1])
    if shape.kind == CAPSULE:
        out = (shape.size[0] + shape.rounding) * vec3(across[0], across[1], ZERO)
        return vec3(out[0], out[1], axial_side(shape, vertex) * shape.size[1])
    return vertex_corner(rare, shape, vertex)


@wp.func
def axial_side(shape: Shape, vertex: int) -> real:
    """On which side of the centre, along the axis, a vertex of a cylinder or capsule is."""
    side = cap_side(vertex)
    if shape.kind == CAPSULE:
        return -side
    return side


@wp.func
def edge_direction(rare: wp.array(dtype=RareArrays), shape: Shape, start: int, end: int) -> vec3:
    """A unit vector along an edge, in the world."""
    if is_round(shape):
        return -axial_side(shape, start) * vec3(shape.mat[0, 2], shape.mat[1, 2], shape.mat[2, 2])
    return wp.normalize(shape.mat * (vertex_corner(rare, shape, end) - vertex_corner(rare, shape, start)))


@wp.func
def edge_rounding(shape: Shape) -> real:
    """How far an edge's points are outside of the shape."""
    if shape.kind == CAPSULE:
        return shape.rounding
    return real(0.0)
