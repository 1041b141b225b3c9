"""Several contacts of two polytopes, boxes or meshes, whose faces or edges lie on each other.

The face or edge of one is clipped to the other's face, the clipping face. Each corner that is left and below that face
is a contact. A corner lies on two lines of the clipped polygon, which are numbered: sides of the clipped face from 0,
and -1 - e where side e of the clipping face cut it. Source: MuJoCo, `multicontact`, `polygonClip`, `polygonQuad`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Shape
from diffsim.collision.gjk import FAR, vec4i
from diffsim.collision.polygons import (
    ALIGNED,
    Faces,
    edge_count,
    edge_direction,
    edge_end,
    edge_point,
    edge_rounding,
    face_corner,
    face_corners,
    face_normal,
    face_number,
    faces_at,
    vec3i,
)
from diffsim.physics.model_arrays import RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, TWO, ZERO, real, vec3

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


@wp.func
def side_plane(start: vec3, end: vec3, n: vec3) -> vec3:
    """The normal of the plane through a side of a face, upright on it; inward for clockwise corners."""
    m = wp.cross(end - start, (start + n) - start)
    length = wp.length(m)
    if length < MINVAL:
        return vec3(ONE, ZERO, ZERO)
    return (ONE / length) * m


@wp.func(inline=True)
def put_corner(s: Scratch, world: int, slot: int, half: int, k: int, point: vec3, before: int, after: int):
    """Stores the k-th corner of a polygon, and the lines before and after it."""
    s.rare[0].clip_point[world, slot, half, k] = point
    s.rare[0].clip_line[world, slot, 2 * half, k] = before
    s.rare[0].clip_line[world, slot, 2 * half + 1, k] = after


@wp.func(inline=True)
def clip_by_side(s: Scratch, world: int, slot: int, half: int, count: int, side: int, start: vec3, m: vec3) -> int:
    """Clips the polygon in one half of the memory by a plane, into the other half; returns the number of corners."""
    clipped = int(0)
    other = 1 - half
    level = wp.dot(m, start)
    for i in range(count):
        j = i + 1
        if j == count:
            j = 0
        p = s.rare[0].clip_point[world, slot, half, i]
        q = s.rare[0].clip_point[world, slot, half, j]
        line = s.rare[0].clip_line[world, slot, 2 * half + 1, i]
        p_inside = wp.dot(p - start, m) > -MINVAL
        q_inside = wp.dot(q - start, m) > -MINVAL
        if p_inside != q_inside:
            step = q - p
            along = wp.dot(m, step)
            if along != ZERO:
                t = (level - wp.dot(m, p)) / along
                if t >= ZERO and t <= ONE:
                    if p_inside:
                        put_corner(s, world, slot, other, clipped, p + t * step, line, -1 - side)
                    else:
                        put_corner(s, world, slot, other, clipped, p + t * step, -1 - side, line)
                    clipped += 1
        if q_inside:
            put_corner(s, world, slot, other, clipped, q, line, s.rare[0].clip_line[world, slot, 2 * half + 1, j])
            clipped += 1
    return clipped


@wp.func(inline=True)
def keep_below(s: Scratch, world: int, slot: int, half: int, count: int, start: vec3, n: vec3, limit: real) -> int:
    """Drops the corners farther above a plane than the limit."""
    kept = int(0)
    for i in range(count):
        point = s.rare[0].clip_point[world, slot, half, i]
        if wp.dot(point - start, n) <= limit:
            before = s.rare[0].clip_line[world, slot, 2 * half, i]
            put_corner(s, world, slot, half, kept, point, before, s.rare[0].clip_line[world, slot, 2 * half + 1, i])
            kept += 1
    return kept


@wp.func(inline=True)
def area_of_four(s: Scratch, world: int, slot: int, half: int, i: int, j: int, k: int, n: int) -> real:
    """The area of a quadrilateral of corners."""
    a = s.rare[0].clip_point[world, slot, half, i]
    b = s.rare[0].clip_point[world, slot, half, j]
    c = s.rare[0].clip_point[world, slot, half, k]
    d = s.rare[0].clip_point[world, slot, half, n]
    return HALF * wp.length(wp.cross(a - c, b - d))


@wp.func(inline=True)
def largest_four(s: Scratch, world: int, slot: int, half: int, count: int) -> vec4i:
    """Four corners of a convex polygon with a large area: MuJoCo's walk around it."""
    best = vec4i(0, 1, 2, 3)
    b = int(1)
    c = int(2)
    d = int(3)
    greatest = area_of_four(s, world, slot, half, 0, 1, 2, 3)
    for a in range(count):
        moving = int(0)  # the corner that moves: the fourth, then the third and second as far as they can
        while moving < 3:
            i = b
            j = c
            k = d
            if moving == 0:
                k = (d + 1) % count
            if moving == 1:
                j = (c + 1) % count
            if moving == 2:
                i = (b + 1) % count
            area = area_of_four(s, world, slot, half, a, i, j, k)
            if area > greatest:
                greatest = area
                b = i
                c = j
                d = k
                best = vec4i(a, b, c, d)
                if moving == 0:
                    moving = 1
            elif moving == 0:
                moving = 3
            elif moving == 1:
                moving = 2
            else:
                moving = 0
        if b == a:
            b = (b + 1) % count
            if c == b:
                c = (c + 1) % count
                if d == c:
                    d = (d + 1) % count
    return best


@wp.func(inline=True)
def farthest_two(s: Scratch, world: int, slot: int, half: int, count: int) -> vec4i:
    """The two corners that are farthest apart."""
    best = vec4i(0, 1, 0, 0)
    greatest = real(0.0)
    for i in range(count):
        for j in range(i + 1, count):
            step = s.rare[0].clip_point[world, slot, half, j] - s.rare[0].clip_point[world, slot, half, i]
            square = wp.dot(step, step)
            if square > greatest:
                greatest = square
                best = vec4i(i, j, 0, 0)
    return best


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
