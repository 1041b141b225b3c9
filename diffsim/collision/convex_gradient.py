"""The gradient of contacts of convex geoms by the poses and sizes of the two geoms."""

import warp as wp

from diffsim.collision.clip_contact import (
    ON_CORNER,
    ON_LINE,
    ON_PLANE,
    Corner,
    clip_outcome,
    vertex_outcome,
)
from diffsim.collision.contact_frame import Geom, direction
from diffsim.collision.convex import TOUCH
from diffsim.collision.convex_shape import CYLINDER, ELLIPSOID, HFIELD, Shape
from diffsim.collision.face_clip import FACES_MEET, FIRST_EDGE
from diffsim.collision.features import (
    coordinates_of,
    corner_place,
    feature_of,
    place_point,
    vertex_place,
)
from diffsim.collision.gradient_call import calls_gradient
from diffsim.collision.loaded_shape import has_core, load_shape
from diffsim.collision.plane_mesh import VERTEX
from diffsim.collision.polygon_edges import edge_rounding
from diffsim.collision.polygons import face_corners, face_normal, vec3i
from diffsim.collision.simplex_contact import Pairs, simplex_outcome
from diffsim.collision.smooth_contact import Bars, smooth_cotangents, vec8
from diffsim.physics.contact import load_geom
from diffsim.physics.model_arrays import ModelArrays, RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, ZERO, real, vec3


@wp.func
def is_curved(shape: Shape, expanded: int) -> bool:
    """Whether the shape's points in the search were on a curved surface."""
    return shape.kind == CYLINDER or shape.kind == ELLIPSOID or (expanded == 1 and has_core(shape))


@wp.func
def roundness(shape: Shape) -> real:
    """1 for a shape with a core, else 0."""
    if has_core(shape):
        return real(1.0)
    return real(0.0)


@wp.func
def pairs_of(rare: wp.array(dtype=RareArrays), a: Shape, b: Shape, v1: vec3i, v2: vec3i, count: int) -> Pairs:
    """The pairs of vertices of a simplex; their side is to be set."""
    p = Pairs()
    p.count = count
    p.round1 = roundness(a)
    p.round2 = roundness(b)
    p.a1 = vertex_place(rare, a, v1[0])
    p.b1 = vertex_place(rare, a, v1[1])
    p.c1 = vertex_place(rare, a, v1[2])
    p.a2 = vertex_place(rare, b, v2[0])
    p.b2 = vertex_place(rare, b, v2[1])
    p.c2 = vertex_place(rare, b, v2[2])
    return p


@wp.func
def side_of(p: Pairs, a: Shape, b: Shape, geom1: Geom, geom2: Geom, n: vec3, distance: real) -> real:
    """The side of pairs whose normal is n, at a distance of their vertices' hulls."""
    along = distance
    if p.count == 3:
        first = place_point(b.kind, geom2, p.a2) - place_point(a.kind, geom1, p.a1)
        step = place_point(b.kind, geom2, p.b2) - place_point(a.kind, geom1, p.b1) - first
        other = place_point(b.kind, geom2, p.c2) - place_point(a.kind, geom1, p.c1) - first
        along = wp.dot(wp.cross(step, other), n)
    if along < ZERO:
        return real(-1.0)
    return real(1.0)


@calls_gradient
def touch_cotangents(
    rare: wp.array(dtype=RareArrays),
    a: Shape,
    b: Shape,
    geom1: Geom,
    geom2: Geom,
    point1: vec3,
    point2: vec3,
    v1: vec3i,
    v2: vec3i,
    corners: int,
    expanded: int,
    bars: Bars,
):
    """Cotangents of the two geoms, for those of the witness points of the search."""
    n = direction(point1 - point2)
    c1 = point1 - (a.rounding + roundness(a) * a.size[0]) * n
    c2 = point2 + (b.rounding + roundness(b) * b.size[0]) * n
    if is_curved(a, expanded) or is_curved(b, expanded):
        back1 = wp.transpose(geom1.mat)
        back2 = wp.transpose(geom2.mat)
        f1 = feature_of(rare, a, v1, back1 * n, back1 * (c1 - geom1.pos), expanded)
        f2 = feature_of(rare, b, v2, -(back2 * n), back2 * (c2 - geom2.pos), expanded)
        c1 = point1 - (a.rounding + f1.round * a.size[0]) * n
        c2 = point2 + (b.rounding + f2.round * b.size[0]) * n
        u = coordinates_of(a.kind, geom1, f1, c1)
        v = coordinates_of(b.kind, geom2, f2, c2)
        z = vec8(n[0], n[1], n[2], wp.dot(c2 - c1, n), u[0], u[1], v[0], v[1])
        bar1, bar2 = smooth_cotangents(geom1, geom2, f1, f2, z, bars, a.kind, b.kind)
        return bar1, bar2
    p = pairs_of(rare, a, b, v1, v2, corners)
    p.side = side_of(p, a, b, geom1, geom2, n, wp.dot(c2 - c1, n))
    bar = wp.grad(simplex_outcome)(geom1, geom2, p, bars, a.kind, b.kind)
    return bar[0], bar[1]


@wp.func
def corner_of(
    rare: wp.array(dtype=RareArrays),
    a: Shape,
    b: Shape,
    kind: int,
    face: int,
    other: int,
    end: int,
    before: int,
    after: int,
) -> Corner:
    """The corner between two lines of the polygon that is left of b's face or edge, clipped by a's face."""
    c = Corner()
    c.sign = ONE
    c.n = face_normal(rare, a, face)
    c.base = corner_place(rare, a, face, 0)
    sides = face_corners(rare, a, face)
    line = wp.max(before, after)
    c.kind = ON_LINE
    if before >= 0 and after >= 0:
        c.kind = ON_CORNER
        line = after
    if before < 0 and after < 0:
        c.kind = ON_PLANE
        line = 0
        c.second_start = corner_place(rare, a, face, -1 - after)
        c.second_end = corner_place(rare, a, face, (-after) % sides)
    if before < 0 or after < 0:
        cut = -1 - before
        if before >= 0:
            cut = -1 - after
        c.first_start = corner_place(rare, a, face, cut)
        c.first_end = corner_place(rare, a, face, (cut + 1) % sides)
    if kind == FACES_MEET:
        c.faces = 1
        c.sign = -ONE
        c.m = face_normal(rare, b, other)
        c.start = corner_place(rare, b, other, line)
        c.end = corner_place(rare, b, other, (line + 1) % face_corners(rare, b, other))
    else:
        c.rounding = edge_rounding(b)
        if kind == FIRST_EDGE:
            c.sign = -ONE
        start = other
        finish = end
        if line == 1:
            start = end
            finish = other
        c.start = vertex_place(rare, b, start)
        c.end = vertex_place(rare, b, finish)
    return c


@calls_gradient
def convex_cotangents(m: ModelArrays, s: Scratch, world: int, pair: int, place: int, bars: Bars):
    """Cotangents of the two geoms of a pair, for those of one of its candidates. Needs the candidates."""
    index1 = m.pair_geom1[pair]
    index2 = m.pair_geom2[pair]
    rounding = HALF * m.pair_detection[pair]
    a = load_shape(m, s, world, index1, rounding)
    b = load_shape(m, s, world, index2, rounding)
    geom1 = load_geom(m, s, world, index1)
    geom2 = load_geom(m, s, world, index2)
    kind = s.rare[0].candidate_feature[world, place, 0]
    v1 = vec3i()
    v2 = vec3i()
    for k in range(3):
        v1[k] = s.rare[0].candidate_feature[world, place, 3 + k]
        v2[k] = s.rare[0].candidate_feature[world, place, 6 + k]
    if kind == VERTEX:
        of_vertex = wp.grad(vertex_outcome)(geom1, geom2, vertex_place(m.rare, b, v2[0]), bars, b.kind)
        return of_vertex[0], of_vertex[1]
    point1 = s.rare[0].candidate_witness[world, place, 0]
    point2 = s.rare[0].candidate_witness[world, place, 1]
    corners = s.rare[0].candidate_feature[world, place, 2]
    expanded = s.rare[0].candidate_feature[world, place, 1]
    face = s.rare[0].candidate_feature[world, place, 9]
    if a.kind == HFIELD:
        a.prism = face
    other = s.rare[0].candidate_feature[world, place, 10]
    end = s.rare[0].candidate_feature[world, place, 11]
    before = s.rare[0].candidate_feature[world, place, 12]
    after = s.rare[0].candidate_feature[world, place, 13]
    n = direction(point1 - point2)
    bar1 = Geom()
    bar2 = Geom()
    by = bars  # cotangents of the search's witness points
    if kind != TOUCH:
        by = Bars()
        first = kind == FIRST_EDGE
        clipping = a
        clipped = b
        clipping_geom = geom1
        clipped_geom = geom2
        pull = -n
        if first:
            clipping = b
            clipped = a
            clipping_geom = geom2
            clipped_geom = geom1
            pull = n
        corner = corner_of(m.rare, clipping, clipped, kind, face, other, end, before, after)
        bar = wp.grad(clip_outcome)(clipping_geom, clipped_geom, pull, corner, bars, clipping.kind, clipped.kind)
        if first:
            bar1 = bar[1]
            bar2 = bar[0]
            by.normal = bar[2]
        else:
            bar1 = bar[0]
            bar2 = bar[1]
            by.normal = -bar[2]
    if kind == TOUCH or wp.dot(by.normal, by.normal) > ZERO:
        more1, more2 = touch_cotangents(m.rare, a, b, geom1, geom2, point1, point2, v1, v2, corners, expanded, by)
        bar1 = Geom(bar1.size + more1.size, bar1.pos + more1.pos, bar1.mat + more1.mat)
        bar2 = Geom(bar2.size + more2.size, bar2.pos + more2.pos, bar2.mat + more2.mat)
    return bar1, bar2
