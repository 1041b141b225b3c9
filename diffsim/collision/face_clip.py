"""Several contacts of two polytopes, boxes or meshes, whose faces or edges lie on each other.

The face or edge of one is clipped to the other's face, the clipping face. Each corner that is left and below that face
is a contact. A corner lies on two lines of the clipped polygon, which are numbered: sides of the clipped face from 0,
and -1 - e where side e of the clipping face cut it. Source: MuJoCo, `multicontact`, `polygonClip`, `polygonQuad`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Shape
from diffsim.collision.gjk import FAR, vec4i
from diffsim.collision.polygon_clip import clip_by_side, farthest_two, keep_below, largest_four, put_corner, side_plane
from diffsim.collision.polygon_edges import edge_count, edge_direction, edge_end, edge_point, edge_rounding
from diffsim.collision.polygons import (
    ALIGNED,
    Faces,
    face_corner,
    face_corners,
    face_normal,
    face_number,
    faces_at,
    vec3i,
)
from diffsim.physics.model_arrays import RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import TWO, real, vec3

ALONG = wp.constant(real(0.0888))  # largest cosine between an edge and the normal of a face on which it lies
MOST = wp.constant(4)  # contacts
NO_CLIP = wp.constant(0)
FACES_MEET = wp.constant(1)  # the first's face clips the second's
FIRST_EDGE = wp.constant(2)  # the second's face clips the first's edge
SECOND_EDGE = wp.constant(3)


@wp.struct
class Meeting:
    """Which face clips what: NO_CLIP, or a face of the clipping shape, and a face or edge of the other."""

    kind: int
    face: int
    other: int  # the other's face, or the vertex at which its edge starts
    end: int  # the vertex at which its edge ends


@wp.func
def different(v: vec3i):
    """The different ones of three vertices, first; their number."""
    if v[0] == v[1]:
        if v[0] == v[2]:
            return v, 1
        return vec3i(v[0], v[2], v[2]), 2
    if v[2] == v[0] or v[2] == v[1]:
        return v, 2
    return v, 3


@wp.func
def facing(rare: wp.array(dtype=RareArrays), shape: Shape, faces: Faces, push: vec3):
    """The face that looks most in the direction of a push, -1 for none, and how much."""
    best = int(-1)
    most = real(-FAR)
    for i in range(faces.count):
        face = face_number(rare, faces, i)
        along = wp.dot(shape.mat * face_normal(rare, shape, face), push)
        if along > most:
            most = along
            best = face
    return best, most


@wp.func
def edge_on_face(
    rare: wp.array(dtype=RareArrays), kind: int, a: Shape, dim: int, v: vec3i, b: Shape, faces: Faces, push: vec3
) -> Meeting:
    """The first of the edges of a that lies on one of the faces of b that look in the direction of a push."""
    for i in range(faces.count):
        face = face_number(rare, faces, i)
        n = b.mat * face_normal(rare, b, face)
        if wp.dot(n, push) > MINVAL:
            for j in range(edge_count(rare, a, dim, v)):
                end = edge_end(rare, a, dim, v, j)
                if wp.abs(wp.dot(edge_direction(rare, a, v[0], end), n)) < ALONG:
                    return Meeting(kind, face, v[0], end)
    return Meeting(NO_CLIP, 0, 0, 0)


@wp.func
def opposite_faces(rare: wp.array(dtype=RareArrays), a: Shape, b: Shape, faces1: Faces, faces2: Faces) -> Meeting:
    """The two faces that are nearest to opposite, if they nearly are."""
    most = ALIGNED
    how = Meeting(NO_CLIP, 0, 0, 0)
    for i in range(faces1.count):
        face1 = face_number(rare, faces1, i)
        n = a.mat * face_normal(rare, a, face1)
        for j in range(faces2.count):
            face2 = face_number(rare, faces2, j)
            against = -wp.dot(n, b.mat * face_normal(rare, b, face2))
            if against > most:
                most = against
                how = Meeting(FACES_MEET, face1, face2, 0)
    return how


@wp.func
def meeting_of(rare: wp.array(dtype=RareArrays), a: Shape, b: Shape, v1: vec3i, v2: vec3i, push: vec3) -> Meeting:
    """What clips what, for the vertices of the face of the expanded polytope; `push` points from a to b."""
    v1, dim1 = different(v1)
    v2, dim2 = different(v2)
    faces1 = faces_at(rare, a, dim1, v1, push)
    faces2 = faces_at(rare, b, dim2, v2, -push)
    how = opposite_faces(rare, a, b, faces1, faces2)
    if how.kind == FACES_MEET:
        return how
    if dim1 < 3:
        how = edge_on_face(rare, FIRST_EDGE, a, dim1, v1, b, faces2, -push)
    if how.kind == NO_CLIP and dim2 < 3:
        how = edge_on_face(rare, SECOND_EDGE, b, dim2, v2, a, faces1, push)
    return how


@wp.func(inline=True)
def clip(
    rare: wp.array(dtype=RareArrays), s: Scratch, world: int, slot: int, how: Meeting, a: Shape, b: Shape, pull: vec3
):
    """Clips a face or edge of b to a face of a; the edge of a round shape is on the side of `pull`.

    Returns: the half of the memory with the polygon; the numbers of the corners that are contacts; how many they are.
    """
    corners = int(2)
    if how.kind == FACES_MEET:
        corners = face_corners(rare, b, how.other)
    n = a.mat * face_normal(rare, a, how.face)
    for k in range(corners):
        point = vec3()
        if how.kind == FACES_MEET:
            point = face_corner(rare, b, how.other, k)
        else:
            point = edge_point(rare, b, how.other, how.end, k, wp.transpose(b.mat) * pull)
        put_corner(s, world, slot, 0, k, b.mat * point + b.pos, (k + corners - 1) % corners, k)
    sides = face_corners(rare, a, how.face)
    count = int(0)
    half = int(0)
    chosen = vec4i(0, 1, 2, 3)
    start = a.mat * face_corner(rare, a, how.face, 0) + a.pos
    if sides >= 3:
        count = corners
        side_start = start
        for side in range(sides):
            side_end = a.mat * face_corner(rare, a, how.face, (side + 1) % sides) + a.pos
            plane = side_plane(side_start, side_end, n)
            count = clip_by_side(s, world, slot, half, count, side, side_start, plane)
            half = 1 - half
            side_start = side_end
        count = keep_below(s, world, slot, half, count, start, n, TWO * a.rounding - edge_rounding(b))
        if count > MOST:
            chosen = largest_four(s, world, slot, half, count)
            count = MOST
        elif corners == 2 and count > 2:
            chosen = farthest_two(s, world, slot, half, count)
            count = 2
    return half, chosen, count
