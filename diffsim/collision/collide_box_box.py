"""Contacts of two boxes: one between two edges, or up to eight where a face of one overlaps one of the other.

A face contact is at a corner of the overlap, midway between the faces. Source: MuJoCo, `mjraw_BoxBox`.
"""

import warp as wp

from diffsim.collision.box_axes import (
    EDGES,
    NO_AXIS,
    edge_axis,
    edge_witness,
    overall_slack,
    touching_axis,
    touching_edges,
)
from diffsim.collision.box_corners import (
    NONE,
    corner_point,
    seen_from_opposed,
    share_of_opposed,
    touching_lines,
    twin_line,
)
from diffsim.collision.box_polygon import Corner, from_face, opposed_axis, opposed_faces, side_of
from diffsim.collision.contact_frame import KINK, ContactGeometry, Geom, axis_of, contact, held3, no_contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, ONE, ZERO, mat33, real, vec2, vec3


@wp.struct
class BoxFeature:
    """A candidate: the axis, and a corner of two faces or two corners of edges; NO_AXIS if there is no candidate."""

    axis: int
    corner: Corner  # for edges: `first` and `second` are the corners from which they start
    share: vec2  # part of the gradient along the face's axes that is seen from the opposed face


@no_gradient
def box_feature(
    rot: mat33, pos21: vec3, pos12: vec3, size1: vec3, size2: vec3, margin: real, candidate: int
) -> BoxFeature:
    """Searches for the axis, then for the candidate's features, which are a discrete choice."""
    axis = touching_axis(rot, pos21, pos12, size1, size2, margin)
    none = BoxFeature(NO_AXIS, Corner(NONE, NONE, NONE, NONE), vec2())
    if axis == NO_AXIS:
        return none
    if axis >= EDGES:
        i = (axis - EDGES) // 3
        j = (axis - EDGES) % 3
        n = edge_axis(rot, i, j)
        n = side_of(wp.dot(n, pos21)) * n
        edges = touching_edges(rot, pos21, size1, size2, i, j, n, overall_slack(size1, size2, margin))
        if candidate > 0 or edges.found == 0:
            return none
        return BoxFeature(axis, Corner(edges.corner1, edges.corner2, NONE, NONE), vec2())
    if axis < 3:
        return face_feature(rot, pos21, pos12, size1, size2, axis, axis, candidate)
    return face_feature(wp.transpose(rot), pos12, pos21, size2, size1, axis - 3, axis, candidate)


@wp.func
def face_feature(
    rot: mat33, pos: vec3, back: vec3, size: vec3, other: vec3, face: int, axis: int, candidate: int
) -> BoxFeature:
    """A candidate at a face of the first box, in whose frame `rot` and `pos` are; `back` is in the other's frame."""
    f = opposed_faces(size, other, pos, rot, face)
    lines = touching_lines(f, candidate)
    if lines[0] == NONE:
        return BoxFeature(NO_AXIS, Corner(NONE, NONE, NONE, NONE), vec2())
    first = twin_line(f, lines[0])
    second = twin_line(f, lines[1])
    if first == lines[1]:  # rounding errors made two lines cross that coincide
        return BoxFeature(axis, Corner(lines[0], lines[1], lines[0], lines[1]), vec2())
    opposed = opposed_axis(rot, face)
    tilt = wp.abs(rot[face, (opposed + 1) % 3]) + wp.abs(rot[face, (opposed + 2) % 3])
    # the boxes may be so deep in each other that the opposed face is not the one that the other box would take
    same = side_of(pos[face]) * side_of(back[opposed]) * rot[face, opposed] < ZERO
    share = vec2()
    if tilt <= KINK and same:
        tie = real(0.0)  # then MuJoCo takes the first box's face
        if axis >= 3:
            tie = real(1.0)
        share = share_of_opposed(f, tie)
    return BoxFeature(axis, Corner(lines[0], lines[1], first, second), share)


@differentiable
def face_contact(box: Geom, other_size: vec3, offset: vec3, rot: mat33, axis: int, corner: Corner) -> ContactGeometry:
    """Contact below a corner of the polygon, midway to a face of `box`; the normal points away from `box`."""
    side = side_of(offset[axis])
    point = corner_point(opposed_faces(box.size, other_size, offset, rot, axis), corner)
    middle = from_face(vec3(point[0], point[1], box.size[axis] + HALF * point[2]), axis, side)
    return contact(point[2], box.pos + box.mat * middle, side * axis_of(box.mat, axis))


@differentiable
def faces_contact(
    box: Geom, other: Geom, offset: vec3, back: vec3, rot: mat33, axis: int, corner: Corner, share: vec2
) -> ContactGeometry:
    """As `face_contact`, with a share of the gradient seen from the opposed face, where the faces are parallel.

    Seen from there only the normal, and the position along it, turn with the other box.
    """
    g = face_contact(box, other.size, offset, rot, axis, corner)
    if share[0] == ZERO and share[1] == ZERO:
        return g
    h = face_contact(other, box.size, back, wp.transpose(rot), opposed_axis(rot, axis), seen_from_opposed(corner))
    weight = from_face(vec3(share[0], share[1], ZERO), axis, ONE)
    to_box = wp.transpose(box.mat)
    moved = box.mat * wp.cw_mul(weight, to_box * (h.position - g.position))
    turned = box.mat * wp.cw_mul(weight, to_box * (-h.normal - g.normal))
    return contact(g.distance, g.position + (moved - held3(moved)), g.normal + (turned - held3(turned)))


@differentiable
def box_box(box1: Geom, box2: Geom, candidate: int, margin: real) -> ContactGeometry:
    """One contact of two edges, or one per corner of the polygon."""
    rot = wp.transpose(box1.mat) * box2.mat
    pos21 = wp.transpose(box1.mat) * (box2.pos - box1.pos)
    pos12 = wp.transpose(box2.mat) * (box1.pos - box2.pos)
    feature = box_feature(rot, pos21, pos12, box1.size, box2.size, margin, candidate)
    if feature.axis == NO_AXIS:
        return no_contact()
    if feature.axis < 3:
        return faces_contact(box1, box2, pos21, pos12, rot, feature.axis, feature.corner, feature.share)
    if feature.axis < EDGES:
        back = wp.transpose(rot)
        g = faces_contact(box2, box1, pos12, pos21, back, feature.axis - 3, feature.corner, feature.share)
        return contact(g.distance, g.position, -g.normal)
    i = (feature.axis - EDGES) // 3
    j = (feature.axis - EDGES) % 3
    across = edge_axis(rot, i, j)
    n = side_of(wp.dot(across, pos21)) * across
    w = edge_witness(rot, pos21, box1.size, box2.size, i, j, feature.corner.first, feature.corner.second)
    middle = HALF * (w.point1 + w.point2)
    return contact(wp.dot(w.point2 - w.point1, n), box1.pos + box1.mat * middle, box1.mat * n)
