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
from diffsim.collision.box_polygon import NONE, crossing, from_face, opposed_faces, side_of, touching_lines
from diffsim.collision.contact_frame import ContactGeometry, Geom, axis_of, contact, no_contact
from diffsim.collision.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, mat33, real, vec3


@wp.struct
class BoxFeature:
    """A candidate: the axis, and two lines of a face or two corners of edges; NO_AXIS if there is no candidate."""

    axis: int
    first: int
    second: int


@no_gradient
def box_feature(
    rot: mat33, pos21: vec3, pos12: vec3, size1: vec3, size2: vec3, margin: real, candidate: int
) -> BoxFeature:
    """Searches for the axis, then for the candidate's features, which are a discrete choice."""
    axis = touching_axis(rot, pos21, pos12, size1, size2, margin)
    if axis == NO_AXIS:
        return BoxFeature(NO_AXIS, NONE, NONE)
    if axis >= EDGES:
        i = (axis - EDGES) // 3
        j = (axis - EDGES) % 3
        n = edge_axis(rot, i, j)
        n = side_of(wp.dot(n, pos21)) * n
        edges = touching_edges(rot, pos21, size1, size2, i, j, n, overall_slack(size1, size2, margin))
        if candidate > 0 or edges.found == 0:
            return BoxFeature(NO_AXIS, NONE, NONE)
        return BoxFeature(axis, edges.corner1, edges.corner2)
    lines = wp.vec2i(NONE, NONE)
    if axis < 3:
        lines = touching_lines(opposed_faces(size1, size2, pos21, rot, axis), candidate)
    else:
        lines = touching_lines(opposed_faces(size2, size1, pos12, wp.transpose(rot), axis - 3), candidate)
    if lines[0] == NONE:
        return BoxFeature(NO_AXIS, NONE, NONE)
    return BoxFeature(axis, lines[0], lines[1])


@differentiable
def face_contact(
    box: Geom, other_size: vec3, offset: vec3, rot: mat33, axis: int, line1: int, line2: int
) -> ContactGeometry:
    """Contact below a corner of the polygon, midway to a face of `box`; the normal points away from `box`."""
    side = side_of(offset[axis])
    corner = crossing(opposed_faces(box.size, other_size, offset, rot, axis), line1, line2)
    middle = from_face(vec3(corner[0], corner[1], box.size[axis] + HALF * corner[2]), axis, side)
    return contact(corner[2], box.pos + box.mat * middle, side * axis_of(box.mat, axis))


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
        return face_contact(box1, box2.size, pos21, rot, feature.axis, feature.first, feature.second)
    if feature.axis < EDGES:
        g = face_contact(box2, box1.size, pos12, wp.transpose(rot), feature.axis - 3, feature.first, feature.second)
        return contact(g.distance, g.position, -g.normal)
    i = (feature.axis - EDGES) // 3
    j = (feature.axis - EDGES) % 3
    across = edge_axis(rot, i, j)
    n = side_of(wp.dot(across, pos21)) * across
    w = edge_witness(rot, pos21, box1.size, box2.size, i, j, feature.first, feature.second)
    middle = HALF * (w.point1 + w.point2)
    return contact(wp.dot(w.point2 - w.point1, n), box1.pos + box1.mat * middle, box1.mat * n)
