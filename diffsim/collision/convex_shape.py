"""Support points of convex geoms: the farthest point in a direction, as in C MuJoCo.

A sphere or capsule can be reduced to its core, a point or a segment, and a shape can be rounded by half the margin of
its pair. Source: MuJoCo, `mjc_...Support`.
"""

import mujoco
import warp as wp

from diffsim.collision.prisms import prism_centre, prism_support, prism_vertex
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import ONE, ZERO, mat33, real, vec3

HFIELD = wp.constant(int(mujoco.mjtGeom.mjGEOM_HFIELD))
SPHERE = wp.constant(int(mujoco.mjtGeom.mjGEOM_SPHERE))
CAPSULE = wp.constant(int(mujoco.mjtGeom.mjGEOM_CAPSULE))
ELLIPSOID = wp.constant(int(mujoco.mjtGeom.mjGEOM_ELLIPSOID))
CYLINDER = wp.constant(int(mujoco.mjtGeom.mjGEOM_CYLINDER))
BOX = wp.constant(int(mujoco.mjtGeom.mjGEOM_BOX))
MESH = wp.constant(int(mujoco.mjtGeom.mjGEOM_MESH))
MINVAL = wp.constant(real(mujoco.mjMINVAL))
MINVAL2 = wp.constant(real(mujoco.mjMINVAL**2))
SEED = wp.constant(real(0.4))  # a component of a direction beyond it is not zero for the grid of first vertices
FEW_VERTICES = wp.constant(10)  # below, all vertices are tried


@wp.struct
class Shape:
    """A convex geom in the world."""

    kind: int
    core: int  # 1: a sphere is reduced to a point, a capsule to a segment
    size: vec3  # m
    pos: vec3  # m
    mat: mat33
    rounding: real  # half the margin, m
    mesh: int  # or height field
    prism: int  # of the height field
    vertadr: int
    vertnum: int
    graphadr: int  # -1 if all vertices are tried
    polyadr: int
    polynum: int


@wp.struct
class Support:
    """A support point, and where the search among a mesh's vertices ended."""

    point: vec3  # m
    vertex: int  # of a mesh, box or prism, 0 or 1 for a cylinder's upper or lower cap, else -1
    hull: int  # vertex in the numbering of the mesh's hull, -1 before the first search


@wp.func
def sign_of(x: real, positive: real) -> real:
    """`positive` or its negative, with the sign of x; that of zero is positive."""
    if x >= ZERO:
        return positive
    return -positive


@wp.func
def ellipsoid_support(size: vec3, d: vec3) -> vec3:
    """Of a direction in the ellipsoid's frame."""
    scaled = wp.cw_mul(d, size)
    square = wp.dot(scaled, scaled)
    if square < MINVAL2:
        return vec3(size[0], ZERO, ZERO)
    return wp.cw_mul(scaled, (ONE / wp.sqrt(square)) * size)


@wp.func
def cylinder_support(size: vec3, d: vec3) -> vec3:
    """Of a direction in the cylinder's frame."""
    square = d[0] * d[0] + d[1] * d[1]
    scale = real(0.0)
    if square >= MINVAL2:
        scale = size[0] / wp.sqrt(square)
    return vec3(scale * d[0], scale * d[1], sign_of(d[2], size[1]))


@wp.func
def farthest_vertex(rare: wp.array(dtype=RareArrays), shape: Shape, d: vec3, start: int) -> int:
    """The mesh's vertex by trying all. Of equal ones the first, but an earlier search's result wins."""
    best = wp.max(start, 0)
    greatest = real(-3.4028234663852886e38)
    if start >= 0:
        greatest = wp.dot(d, rare[0].mesh_vert[shape.vertadr + start])
    for i in range(shape.vertnum):
        along = wp.dot(d, rare[0].mesh_vert[shape.vertadr + i])
        if along > greatest:
            greatest = along
            best = i
    return best


@wp.func
def climbed_vertex(rare: wp.array(dtype=RareArrays), shape: Shape, d: vec3, start: int) -> int:
    """The mesh's vertex, numbered in its hull, by climbing along the hull's edges."""
    count = rare[0].mesh_graph[shape.graphadr]
    edgeadr = shape.graphadr + 2
    ids = edgeadr + count
    edges = ids + count
    cell = int(13)  # of the grid's middle
    weight = int(9)
    for k in range(3):
        if d[k] > SEED:
            cell += weight
        if d[k] < -SEED:
            cell -= weight
        weight = weight / 3
    best = rare[0].mesh_extrema[shape.mesh, cell]
    greatest = wp.dot(d, rare[0].mesh_vert[shape.vertadr + rare[0].mesh_graph[ids + best]])
    if start >= 0:
        along = wp.dot(d, rare[0].mesh_vert[shape.vertadr + rare[0].mesh_graph[ids + start]])
        if not greatest > along:
            best = start
            greatest = along
    last = int(-1)
    while best != last:
        last = best
        i = edges + rare[0].mesh_graph[edgeadr + best]
        neighbour = rare[0].mesh_graph[i]
        while neighbour >= 0:
            along = wp.dot(d, rare[0].mesh_vert[shape.vertadr + rare[0].mesh_graph[ids + neighbour]])
            if along > greatest:
                greatest = along
                best = neighbour
            i += 1
            neighbour = rare[0].mesh_graph[i]
    return best


@wp.func
def support_point(rare: wp.array(dtype=RareArrays), shape: Shape, direction: vec3, last: Support) -> Support:
    """The shape's farthest point in a direction, a unit vector; `last` is the result of the shape's last search."""
    d = wp.transpose(shape.mat) * direction
    local = vec3()
    vertex = int(-1)
    hull = last.hull
    if shape.kind == BOX:
        local = vec3(sign_of(d[0], shape.size[0]), sign_of(d[1], shape.size[1]), sign_of(d[2], shape.size[2]))
        vertex = int(local[0] > ZERO) + 2 * int(local[1] > ZERO) + 4 * int(local[2] > ZERO)
    elif shape.kind == MESH:
        if shape.graphadr < 0:
            vertex = farthest_vertex(rare, shape, d, last.vertex)
        else:
            hull = climbed_vertex(rare, shape, d, last.hull)
            vertex = rare[0].mesh_graph[shape.graphadr + 2 + rare[0].mesh_graph[shape.graphadr] + hull]
        local = rare[0].mesh_vert[shape.vertadr + vertex]
    elif shape.kind == HFIELD:
        vertex = prism_support(rare, shape.mesh, shape.prism, d)
        local = prism_vertex(rare, shape.mesh, shape.prism, vertex)
    elif shape.kind == CYLINDER:
        local = cylinder_support(shape.size, d)
        vertex = int(local[2] < ZERO)
    elif shape.kind == ELLIPSOID:
        local = ellipsoid_support(shape.size, d)
    elif shape.kind == CAPSULE:
        local = vec3(ZERO, ZERO, sign_of(d[2], shape.size[1]))
        if shape.core == 1:
            vertex = int(local[2] > ZERO)
        else:
            local += shape.size[0] * d
    elif shape.core == 1:
        vertex = 0
    else:
        local = shape.size[0] * d
    point = shape.mat * local + shape.pos
    if shape.rounding > ZERO and shape.core == 0:
        point += shape.rounding * direction
    return Support(point, vertex, hull)


@wp.func
def centre_of(rare: wp.array(dtype=RareArrays), shape: Shape) -> vec3:
    """A point inside the shape."""
    if shape.kind == HFIELD:
        return shape.mat * prism_centre(rare, shape.mesh, shape.prism) + shape.pos
    return shape.pos


@wp.func
def is_polytope(shape: Shape) -> bool:
    """Whether the shape has vertices only, apart from its rounding."""
    return shape.kind == BOX or shape.kind == MESH or shape.kind == HFIELD


@wp.func
def is_discrete(shape: Shape) -> bool:
    """Whether the shape is a polytope without rounding."""
    return shape.rounding == ZERO and is_polytope(shape)
