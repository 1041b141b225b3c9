"""Features of convex shapes, as functions of the geom: where gradients of contacts come from.

A place in a shape's frame is `unit` times the shape's extent plus `fixed`: so it moves with the geom's size. A feature
is a corner, an edge, a face, a cylinder's rim, or an ellipsoid's surface, with up to two coordinates u along it.
"""

import warp as wp

from diffsim.collision.contact_frame import Geom
from diffsim.collision.convex_shape import BOX, CAPSULE, CYLINDER, ELLIPSOID, HFIELD, MESH, SPHERE, Shape
from diffsim.collision.gradient_call import differentiable
from diffsim.collision.polygon_edges import axial_side
from diffsim.collision.polygons import CAP_COS, CAP_SIN, box_corner_unit, cap_side, vec3i
from diffsim.collision.prisms import prism_vertex
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import ONE, ZERO, real, vec2, vec3

CORNER = wp.constant(0)
EDGE = wp.constant(1)
FACE = wp.constant(2)
RIM = wp.constant(3)
SURFACE = wp.constant(4)
FLAT = wp.constant(real(1.0 - 1.0e-6))  # cosine between an axis and a normal, above which a cap is met, not its rim


@wp.struct
class Place:
    """A point of a shape in its frame."""

    unit: vec3
    fixed: vec3  # m


@wp.struct
class Feature:
    """A feature; `a`, `b` and `c` are corners, or the first is a point on the axis of a rim."""

    kind: int
    round: real  # 1 if the shape's surface is its size's first number away from the feature, else 0
    a: Place
    b: Place
    c: Place
    w: vec3  # on a surface: the place divided by the semi-axes, and two vectors upright on it
    along1: vec3
    along2: vec3


@differentiable
def extent(kind: int, size: vec3) -> vec3:
    """What the units of a shape's places are multiplied with."""
    if kind == BOX or kind == ELLIPSOID:
        return size
    if kind == CYLINDER or kind == CAPSULE:
        return vec3(size[0], size[0], size[1])
    return vec3(ZERO, ZERO, ZERO)


@differentiable(inline=False)
def place_point(kind: int, geom: Geom, p: Place) -> vec3:
    """A place in the world."""
    return geom.mat * (wp.cw_mul(p.unit, extent(kind, geom.size)) + p.fixed) + geom.pos


@differentiable
def surface_unit(f: Feature, u: vec2) -> vec3:
    """The unit vector of a place on an ellipsoid."""
    return wp.normalize(f.w + u[0] * f.along1 + u[1] * f.along2)


@differentiable(inline=False)
def feature_point(kind: int, geom: Geom, f: Feature, u: vec2) -> vec3:
    """The feature's point at u, in the world."""
    a = place_point(kind, geom, f.a)
    if f.kind == EDGE:
        return a + u[0] * (place_point(kind, geom, f.b) - a)
    if f.kind == FACE:
        return a + u[0] * (place_point(kind, geom, f.b) - a) + u[1] * (place_point(kind, geom, f.c) - a)
    if f.kind == RIM:
        return a + geom.mat * (geom.size[0] * vec3(wp.cos(u[0]), wp.sin(u[0]), ZERO))
    if f.kind == SURFACE:
        return geom.mat * wp.cw_mul(geom.size, surface_unit(f, u)) + geom.pos
    return a


@differentiable(inline=False)
def feature_condition(kind: int, geom: Geom, f: Feature, u: vec2, n: vec3) -> vec2:
    """Zero where n is upright on the feature at u; coordinates that the feature does not have are zero."""
    a = place_point(kind, geom, f.a)
    if f.kind == EDGE:
        return vec2(wp.dot(n, place_point(kind, geom, f.b) - a), u[1])
    if f.kind == FACE:
        return vec2(wp.dot(n, place_point(kind, geom, f.b) - a), wp.dot(n, place_point(kind, geom, f.c) - a))
    if f.kind == RIM:
        along = geom.mat * (geom.size[0] * vec3(-wp.sin(u[0]), wp.cos(u[0]), ZERO))
        return vec2(wp.dot(n, along), u[1])
    if f.kind == SURFACE:
        w = surface_unit(f, u)
        q = wp.cw_mul(geom.size, wp.transpose(geom.mat) * n)
        q = q - wp.dot(q, w) * w
        return vec2(wp.dot(q, f.along1), wp.dot(q, f.along2))
    return u


@wp.func(inline=False)
def vertex_place(rare: wp.array(dtype=RareArrays), shape: Shape, vertex: int) -> Place:
    """A vertex of a box, mesh or prism; an end of a capsule's axis; the centre of a sphere, or of a cylinder's cap."""
    p = Place()
    if shape.kind == BOX:
        for k in range(3):
            p.unit[k] = -ONE
            if (vertex >> k) & 1 == 1:
                p.unit[k] = ONE
    elif shape.kind == MESH:
        p.fixed = rare[0].mesh_vert[shape.vertadr + vertex]
    elif shape.kind == HFIELD:
        p.fixed = prism_vertex(rare, shape.mesh, shape.prism, vertex)
    elif shape.kind == CAPSULE or shape.kind == CYLINDER:
        p.unit = vec3(ZERO, ZERO, axial_side(shape, vertex))
    return p


@wp.func(inline=False)
def corner_place(rare: wp.array(dtype=RareArrays), shape: Shape, face: int, k: int) -> Place:
    """The k-th corner of a face; see `polygons.face_corner`."""
    p = Place()
    if shape.kind == CYLINDER:
        side = cap_side(face)
        p.unit = vec3(CAP_COS[k], -CAP_SIN[k] * side, side)
    elif shape.kind == BOX:
        p.unit = box_corner_unit(face, k)
    else:
        count = rare[0].mesh_polyvertnum[shape.polyadr + face]
        vertex = rare[0].mesh_polyvert[rare[0].mesh_polyvertadr[shape.polyadr + face] + count - 1 - k]
        p.fixed = rare[0].mesh_vert[shape.vertadr + vertex]
    return p


@wp.func
def upright(w: vec3) -> vec3:
    """A unit vector upright on another."""
    axis = vec3(ONE, ZERO, ZERO)
    if wp.abs(w[0]) > real(0.6):
        axis = vec3(ZERO, ONE, ZERO)
    return wp.normalize(wp.cross(w, axis))


@wp.func
def cylinder_feature(shape: Shape, v: vec3i, normal: vec3, point: vec3) -> Feature:
    """The feature of a cylinder with an outward normal at a point, both in its frame."""
    f = Feature()
    f.a.unit = vec3(ZERO, ZERO, cap_side(v[0]))
    if (v[0] != v[1] or v[0] != v[2]) and wp.abs(normal[2]) < real(0.5):
        f.kind = EDGE
        f.round = ONE
        f.b.unit = -f.a.unit
    elif wp.abs(normal[2]) > FLAT:
        f.kind = FACE
        f.b.unit = f.a.unit + vec3(ONE, ZERO, ZERO)
        f.c.unit = f.a.unit + vec3(ZERO, ONE, ZERO)
    else:
        f.kind = RIM
    return f


@wp.func(inline=False)
def feature_of(
    rare: wp.array(dtype=RareArrays), shape: Shape, v: vec3i, normal: vec3, point: vec3, expanded: int
) -> Feature:
    """The feature with the vertices v and an outward normal at a point, both in the shape's frame."""
    f = Feature()
    if shape.kind == CYLINDER:
        return cylinder_feature(shape, v, normal, point)
    if shape.kind == ELLIPSOID:
        f.kind = SURFACE
        f.w = wp.normalize(wp.cw_mul(shape.size, normal))
        f.along1 = upright(f.w)
        f.along2 = wp.cross(f.w, f.along1)
        return f
    if shape.kind == SPHERE:
        f.round = ONE
        return f
    if shape.kind == CAPSULE:
        f.round = ONE
        if expanded == 1:
            f.a = vertex_place(rare, shape, int(point[2] > ZERO))
            if wp.abs(normal[2]) < real(1.0e-3):
                f.kind = EDGE
                f.b = vertex_place(rare, shape, int(point[2] <= ZERO))
            return f
    f.a = vertex_place(rare, shape, v[0])
    if v[1] != v[0]:
        f.kind = EDGE
        f.b = vertex_place(rare, shape, v[1])
    if v[2] != v[0] and v[2] != v[1]:
        if f.kind == EDGE:
            f.kind = FACE
            f.c = vertex_place(rare, shape, v[2])
        else:
            f.kind = EDGE
            f.b = vertex_place(rare, shape, v[2])
    return f


@wp.func
def coordinates_of(kind: int, geom: Geom, f: Feature, point: vec3) -> vec2:
    """The coordinates of the feature's point that is closest to a point in the world."""
    a = place_point(kind, geom, f.a)
    d = point - a
    if f.kind == EDGE:
        along = place_point(kind, geom, f.b) - a
        return vec2(wp.dot(d, along) / wp.dot(along, along), ZERO)
    if f.kind == FACE:
        along1 = place_point(kind, geom, f.b) - a
        along2 = place_point(kind, geom, f.c) - a
        across = wp.cross(along1, along2)
        square = wp.dot(across, across)
        return vec2(wp.dot(across, wp.cross(d, along2)) / square, wp.dot(across, wp.cross(along1, d)) / square)
    if f.kind == RIM:
        local = wp.transpose(geom.mat) * d
        return vec2(wp.atan2(local[1], local[0]), ZERO)
    return vec2(ZERO, ZERO)
