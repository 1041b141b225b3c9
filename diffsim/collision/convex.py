"""Contacts of convex geoms that have no collider of their own, as in C MuJoCo.

The distance of the shapes comes from `gjk`, their penetration from `epa`. Spheres and capsules are first reduced to
their cores. Shapes with faces or edges that lie on each other have up to four contacts (`face_clip`).
Source: MuJoCo, `mjc_ccd`, `mjc_Convex`.

The gradient needs the features of a contact. Their numbers are: the kind, which is TOUCH or one of `face_clip` and
`plane_mesh`; whether a polytope was expanded; the number of corners of the simplex, and the three vertices of each
shape there; the face, and the face or edge, that were clipped; the lines before and after the corner. Contacts of
height fields have the prism's number in place of the face's.
"""

import warp as wp

from diffsim.collision.bounding_box import boxes_apart
from diffsim.collision.contact_frame import contact_frame, direction
from diffsim.collision.convex_shape import (
    CYLINDER,
    ELLIPSOID,
    HFIELD,
    MESH,
    SPHERE,
    Shape,
    Support,
    is_polytope,
)
from diffsim.collision.epa import expand
from diffsim.collision.face_clip import FACES_MEET, FIRST_EDGE, NO_CLIP, Meeting, clip, meeting_of
from diffsim.collision.first_polytope import first_polytope
from diffsim.collision.geometry import PLANE
from diffsim.collision.gjk import FAR, distance_of
from diffsim.collision.loaded_shape import core_of, core_radius, load_shape, without_rounding
from diffsim.collision.plane_mesh import plane_mesh_contacts
from diffsim.collision.polygon_edges import edge_rounding
from diffsim.collision.polygons import face_corner, face_normal, vec3i
from diffsim.physics.model_arrays import ModelArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, TWO, ZERO, real, vec3

TOUCH = wp.constant(0)


@wp.struct
class Touch:
    """How two shapes touch."""

    distance: real  # m; not negative if they do not
    point1: vec3  # m, witness points
    point2: vec3
    start1: vec3  # m, the first vertex of the simplex or face on either shape
    start2: vec3
    corners: int  # of the simplex, or the face of the polytope, in which the witness points lie
    vertices1: vec3i  # of a mesh or box; 0 or 1 for the ends of a capsule's core; else -1
    vertices2: vec3i
    expanded: int  # 1 if the witness points lie in the face of a polytope
    first: Support
    second: Support


@wp.func(inline=True)
def touch(
    m: ModelArrays, s: Scratch, world: int, slot: int, a: Shape, b: Shape, first: Support, second: Support
) -> Touch:
    """The witness points of two shapes, or of their cores, if they touch."""
    result = Touch()
    result.distance = FAR
    result.first = first
    result.second = second
    deep = bool(True)
    reach1 = core_radius(a)
    reach2 = core_radius(b)
    reach = reach1 + reach2
    if reach > ZERO:
        near = distance_of(m.rare, core_of(a), core_of(b), first, second, m.ccd_tolerance, m.ccd_iterations, reach)
        result.first = near.first
        result.second = near.second
        if near.distance > m.ccd_tolerance:
            deep = False
            if near.distance < FAR:
                n = direction(near.point2 - near.point1)
                result.distance = near.distance - reach
                result.point1 = near.point1 + reach1 * n
                result.point2 = near.point2 - reach2 * n
                x = near.simplex
                result.corners = x.count
                result.start1 = x.point1[0]
                result.start2 = x.point2[0]
                for k in range(3):
                    corner = int(0)
                    if k < x.count:
                        corner = k
                    result.vertices1[k] = x.vertex1[corner]
                    result.vertices2[k] = x.vertex2[corner]
    if deep:
        rounding = real(0.0)
        alike = a.kind == HFIELD and a.rounding == ZERO  # MuJoCo does not number the vertices of prisms
        if is_polytope(a) and is_polytope(b):
            rounding = a.rounding
            a = without_rounding(a)
            b = without_rounding(b)
        d = distance_of(m.rare, a, b, result.first, result.second, m.ccd_tolerance, m.ccd_iterations, ZERO)
        result.first = d.first
        result.second = d.second
        if d.separated == 0 and d.distance <= m.ccd_tolerance and d.simplex.count > 1:
            start = first_polytope(m.rare, s, world, slot, a, b, d.simplex, d.first, d.second)
            result.first = start.first
            result.second = start.second
            if start.found == 1:
                p = expand(
                    m.rare,
                    s,
                    world,
                    slot,
                    a,
                    b,
                    start.first,
                    start.second,
                    start.centre,
                    m.ccd_tolerance,
                    m.ccd_iterations,
                    alike,
                )
                result.first = p.first
                result.second = p.second
                n = direction(p.point1 - p.point2)
                result.distance = p.distance - TWO * rounding
                result.point1 = p.point1 + rounding * n
                result.point2 = p.point2 - rounding * n
                if p.face >= 0:
                    result.corners = 3
                    result.expanded = 1
                    v = s.rare[0].polytope_face[world, slot, p.face, 0]
                    result.start1 = s.rare[0].polytope_point[world, slot, v, 1]
                    result.start2 = s.rare[0].polytope_point[world, slot, v, 2]
                    for k in range(3):
                        v = s.rare[0].polytope_face[world, slot, p.face, k]
                        result.vertices1[k] = s.rare[0].polytope_vertex[world, slot, v, 0]
                        result.vertices2[k] = s.rare[0].polytope_vertex[world, slot, v, 1]
    return result


@wp.func(inline=True)
def keep_touch(m: ModelArrays, s: Scratch, world: int, pair: int, candidate: int, t: Touch):
    """Makes a touch a candidate of a pair."""
    place = m.pair_candidateadr[pair] + candidate
    s.candidate_distance[world, place] = m.pair_detection[pair] + t.distance
    s.candidate_point[world, place] = HALF * (t.point1 + t.point2)
    s.candidate_frame[world, place] = contact_frame(t.point1 - t.point2, vec3())
    keep_features(s, world, place, TOUCH, t)


@wp.func(inline=True)
def keep_features(s: Scratch, world: int, place: int, kind: int, t: Touch):
    """Stores what the gradient needs of the search."""
    s.rare[0].candidate_witness[world, place, 0] = t.point1
    s.rare[0].candidate_witness[world, place, 1] = t.point2
    s.rare[0].candidate_feature[world, place, 0] = kind
    s.rare[0].candidate_feature[world, place, 1] = t.expanded
    s.rare[0].candidate_feature[world, place, 2] = t.corners
    for i in range(3):
        s.rare[0].candidate_feature[world, place, 3 + i] = t.vertices1[i]
        s.rare[0].candidate_feature[world, place, 6 + i] = t.vertices2[i]


@wp.func(inline=True)
def keep_clip(
    m: ModelArrays, s: Scratch, world: int, slot: int, pair: int, a: Shape, b: Shape, t: Touch, how: Meeting
) -> int:
    """Makes the corners of a clipped face or edge the candidates of a pair. Returns how many."""
    clipping = a
    clipped = b
    pull = direction(t.point2 - t.point1)
    start = t.start2
    if how.kind == FIRST_EDGE:
        clipping = b
        clipped = a
        pull = -pull
        start = t.start1
    if clipped.kind == CYLINDER:
        pull = start - clipped.pos
    half, chosen, count = clip(m.rare, s, world, slot, how, clipping, clipped, pull)
    n = clipping.mat * face_normal(m.rare, clipping, how.face)
    base = clipping.mat * face_corner(m.rare, clipping, how.face, 0) + clipping.pos
    normal = n
    if how.kind == FIRST_EDGE:
        normal = -n
    if how.kind == FACES_MEET:
        normal = -(clipped.mat * face_normal(m.rare, clipped, how.other))
    for k in range(count):
        corner = chosen[k]
        point = s.rare[0].clip_point[world, slot, half, corner]
        height = wp.dot(point - base, n)
        witness = point - height * n
        distance = height + edge_rounding(clipped)
        middle = witness + HALF * distance * n
        if how.kind == FACES_MEET:
            distance = wp.dot(point - witness, normal)
            middle = witness + HALF * distance * normal
        place = m.pair_candidateadr[pair] + k
        s.candidate_distance[world, place] = distance
        s.candidate_point[world, place] = middle
        s.candidate_frame[world, place] = contact_frame(normal, vec3())
        keep_features(s, world, place, how.kind, t)
        s.rare[0].candidate_feature[world, place, 9] = how.face
        s.rare[0].candidate_feature[world, place, 10] = how.other
        s.rare[0].candidate_feature[world, place, 11] = how.end
        s.rare[0].candidate_feature[world, place, 12] = s.rare[0].clip_line[world, slot, 2 * half, corner]
        s.rare[0].candidate_feature[world, place, 13] = s.rare[0].clip_line[world, slot, 2 * half + 1, corner]
    return count


@wp.func
def lies_flat(shape: Shape) -> bool:
    """Whether a shape can have several contacts with another."""
    return shape.kind != SPHERE and shape.kind != ELLIPSOID


@wp.func(inline=True)
def convex_contacts(m: ModelArrays, s: Scratch, world: int, slot: int, pair: int):
    """Fills a pair's candidates, and the number of those that are contacts. Needs the geoms' poses."""
    detection = m.pair_detection[pair]
    a = load_shape(m, s, world, m.pair_geom1[pair], HALF * detection)
    b = load_shape(m, s, world, m.pair_geom2[pair], HALF * detection)
    if m.geom_kind[m.pair_geom1[pair]] == PLANE:
        plane_mesh_contacts(m, s, world, slot, pair, m.pair_geom1[pair], b)
        return
    count = int(0)
    t = Touch()
    t.distance = FAR
    if not boxes_apart(m.rare, a, b, detection):
        nothing = Support(vec3(), -1, -1)
        t = touch(m, s, world, slot, a, b, nothing, nothing)
    if t.distance < ZERO:
        no_polygons = (a.kind == MESH and a.polynum == 0) or (b.kind == MESH and b.polynum == 0)
        if m.multiccd == 1 and lies_flat(a) and lies_flat(b) and not no_polygons:
            how = meeting_of(m.rare, a, b, t.vertices1, t.vertices2, t.point1 - t.point2)
            if how.kind != NO_CLIP:
                count = keep_clip(m, s, world, slot, pair, a, b, t, how)
        if count == 0:
            keep_touch(m, s, world, pair, 0, t)
            count = 1
    for k in range(count, m.pair_candidates[pair]):
        s.candidate_distance[world, m.pair_candidateadr[pair] + k] = FAR
    s.pair_detected[world, pair] = count
