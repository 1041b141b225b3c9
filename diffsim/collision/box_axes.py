"""The axis along which two boxes have the largest gap or the smallest overlap: a face normal, or a product of edges.

Everything is in the first box's frame: the columns of `rot` are the second box's axes, pos21 is the second box's
centre. pos12 is the first box's centre in the second box's frame.
Source: MuJoCo, `mjraw_BoxBox`; Gottschalk, Lin & Manocha (1996), OBBTree, section 5.
"""

import warp as wp

from diffsim.collision.collide_box import clamped
from diffsim.collision.gradient_call import differentiable
from diffsim.types import ONE, X64, ZERO, mat33, real, vec3

NO_AXIS = wp.constant(-1)
EDGES = wp.constant(6)  # axes 0 to 2: normals of the first box; 3 to 5: of the second; 6 + 3 i + j: across edges i, j
# MuJoCo's tolerances to rounding, in double and in single precision.
SEPARATION = wp.constant(real(1.0e-13 if X64 else 1.0e-6))  # times the sum of all half sizes
PARALLEL = wp.constant(real(1.0e-16 if X64 else 1.0e-7))  # squared sine
AMBIGUOUS = wp.constant(real(1.0e-9 if X64 else 1.0e-5))  # component of a unit vector
EDGE_BIAS = wp.constant(real(1.0e-6))  # relative amount by which an edge axis must be better
ALIKE = wp.constant(real(0.99))  # cosine above which an edge axis must be better than the face axis by BETTER
BETTER = wp.constant(real(0.05))
TINY = wp.constant(real(1.0e-15))
LARGE = wp.constant(real(1.0e10))


@wp.struct
class EdgeChoice:
    """The edges that touch. A set bit of a corner means the upper side of that axis."""

    found: int
    corner1: int
    corner2: int


@wp.struct
class Witness:
    """The closest points of two edges, in the first box's frame."""

    point1: vec3
    point2: vec3


@wp.func
def overall_slack(size1: vec3, size2: vec3, margin: real) -> real:
    """Largest gap at which the boxes can touch."""
    return margin + SEPARATION * (size1[0] + size1[1] + size1[2] + size2[0] + size2[1] + size2[2])


@differentiable
def edge_axis(rot: mat33, i: int, j: int) -> vec3:
    """Unit vector orthogonal to axis i of the first box and axis j of the second."""
    column = vec3(rot[0, j], rot[1, j], rot[2, j])
    if i == 0:
        return wp.normalize(vec3(ZERO, -column[2], column[1]))
    if i == 1:
        return wp.normalize(vec3(column[2], ZERO, -column[0]))
    return wp.normalize(vec3(-column[1], column[0], ZERO))


@wp.func
def face_separation(rot: mat33, pos21: vec3, pos12: vec3, size1: vec3, size2: vec3, face: int) -> real:
    """Gap along a face's normal; negative if the boxes overlap there."""
    if face < 3:
        reach = wp.abs(rot[face, 0]) * size2[0] + wp.abs(rot[face, 1]) * size2[1] + wp.abs(rot[face, 2]) * size2[2]
        return wp.abs(pos21[face]) - size1[face] - reach
    k = face - 3
    reach = wp.abs(rot[0, k]) * size1[0] + wp.abs(rot[1, k]) * size1[1] + wp.abs(rot[2, k]) * size1[2]
    return wp.abs(pos12[k]) - size2[k] - reach


@wp.func
def edge_separation(rot: mat33, pos21: vec3, size1: vec3, size2: vec3, i: int, j: int) -> real:
    """Gap along the axis orthogonal to two edges; -LARGE if the edges are parallel."""
    i1 = (i + 1) % 3
    i2 = (i + 2) % 3
    norm2 = rot[i2, j] * rot[i2, j] + rot[i1, j] * rot[i1, j]
    if norm2 < PARALLEL:
        return -LARGE
    inverse = ONE / wp.sqrt(norm2)
    a1 = -rot[i2, j] * inverse
    a2 = rot[i1, j] * inverse
    j1 = (j + 1) % 3
    j2 = (j + 2) % 3
    b1 = a1 * rot[i1, j1] + a2 * rot[i2, j1]
    b2 = a1 * rot[i1, j2] + a2 * rot[i2, j2]
    reach1 = size1[i1] * wp.abs(a1) + size1[i2] * wp.abs(a2)
    reach2 = size2[j1] * wp.abs(b1) + size2[j2] * wp.abs(b2)
    return wp.abs(a1 * pos21[i1] + a2 * pos21[i2]) - reach1 - reach2


@wp.func
def touching_axis(rot: mat33, pos21: vec3, pos12: vec3, size1: vec3, size2: vec3, margin: real) -> int:
    """The axis of the largest gap; NO_AXIS if the boxes are apart. Prefers faces, which give several contacts."""
    slack = overall_slack(size1, size2, margin)
    best = -LARGE
    face = int(0)
    for k in range(6):
        gap = face_separation(rot, pos21, pos12, size1, size2, k)
        if gap > slack:
            return NO_AXIS
        if gap > best:
            best = gap
            face = k
    face_gap = best
    axis = int(face)
    for k in range(9):
        gap = edge_separation(rot, pos21, size1, size2, k // 3, k % 3)
        if gap > slack:
            return NO_AXIS
        if gap - EDGE_BIAS * wp.abs(gap) > best and gap > face_gap:
            best = gap
            axis = EDGES + k
    if axis >= EDGES:
        n = edge_axis(rot, (axis - EDGES) // 3, (axis - EDGES) % 3)
        alike = real(0.0)
        if face < 3:
            alike = wp.abs(n[face])
        else:
            k = face - 3
            alike = wp.abs(n[0] * rot[0, k] + n[1] * rot[1, k] + n[2] * rot[2, k])
        if alike > ALIKE and best < face_gap + BETTER * wp.abs(face_gap) + TINY:
            return face
    return axis


@differentiable
def edge_side(size: vec3, corner: int, edge: int, k: int) -> real:
    """Component k of the middle of an edge."""
    if k == edge:
        return real(0.0)
    if (corner & (1 << k)) != 0:
        return size[k]
    return -size[k]


@differentiable
def edge_witness(
    rot: mat33, pos21: vec3, size1: vec3, size2: vec3, i: int, j: int, corner1: int, corner2: int
) -> Witness:
    """Closest points of edge i of the first box and edge j of the second, clamped one after the other."""
    middle1 = vec3(edge_side(size1, corner1, i, 0), edge_side(size1, corner1, i, 1), edge_side(size1, corner1, i, 2))
    local2 = vec3(edge_side(size2, corner2, j, 0), edge_side(size2, corner2, j, 1), edge_side(size2, corner2, j, 2))
    middle2 = rot * local2 + pos21
    d2 = vec3(rot[0, j], rot[1, j], rot[2, j])
    offset = middle2 - middle1
    cosine = d2[i]
    along2 = wp.dot(d2, offset)
    guess = real(0.0)
    if ONE - cosine * cosine >= TINY:
        guess = (offset[i] - cosine * along2) / (ONE - cosine * cosine)
    t = clamped(cosine * clamped(guess, size1[i]) - along2, size2[j])
    s = clamped(offset[i] + cosine * t, size1[i])
    point1 = vec3(middle1[0], middle1[1], s)
    if i == 0:
        point1 = vec3(s, middle1[1], middle1[2])
    if i == 1:
        point1 = vec3(middle1[0], s, middle1[2])
    return Witness(point1, middle2 + t * d2)


@wp.func
def touching_edges(
    rot: mat33, pos21: vec3, size1: vec3, size2: vec3, i: int, j: int, axis: vec3, slack: real
) -> EdgeChoice:
    """Selects the edge of each box, among four parallel ones, that touches along an axis from the first to the second.

    Where the axis is also normal to a face, two edges of that face are possible; the closest pair is selected.
    """
    axis2 = wp.transpose(rot) * axis
    corner1 = int(0)
    corner2 = int(0)
    ambiguous1 = int(-1)
    ambiguous2 = int(-1)
    for n in range(2):
        i1 = (i + 2 - n) % 3  # the first ambiguous axis counts, so it comes last
        j1 = (j + 2 - n) % 3
        if axis[i1] >= ZERO:
            corner1 = corner1 | (1 << i1)
        if axis2[j1] < ZERO:
            corner2 = corner2 | (1 << j1)
        if wp.abs(axis[i1]) < AMBIGUOUS:
            ambiguous1 = i1
        if wp.abs(axis2[j1]) < AMBIGUOUS:
            ambiguous2 = j1
    best = LARGE * LARGE
    choice = EdgeChoice(0, corner1, corner2)
    for n in range(4):
        other1 = corner1
        other2 = corner2
        skip = int(0)
        if n >= 2:
            if ambiguous1 < 0:
                skip = 1
            else:
                other1 = corner1 ^ (1 << ambiguous1)
        if n % 2 == 1:
            if ambiguous2 < 0:
                skip = 1
            else:
                other2 = corner2 ^ (1 << ambiguous2)
        if skip == 0:
            w = edge_witness(rot, pos21, size1, size2, i, j, other1, other2)
            gap = w.point2 - w.point1
            if wp.dot(gap, gap) < best:
                best = wp.dot(gap, gap)
                found = int(0)
                if wp.dot(gap, axis) <= slack:
                    found = 1
                choice = EdgeChoice(found, other1, other2)
    return choice
