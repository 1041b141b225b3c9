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
from diffsim.collision.contact_frame import ContactGeometry, axis_of, contact, no_contact
from diffsim.physics.gradient_call import differentiable, no_gradient
from diffsim.types import HALF, mat33, real, vec3


@wp.struct
class BoxFeature:
    """A candidate: the axis, and two lines for a face, two corners for edges; NO_AXIS if there is none."""

    axis: int
    first: int
    second: int


@no_gradient
def box_feature(
    rot: mat33, pos21: vec3, pos12: vec3, size1: vec3, size2: vec3, margin: real, candidate: int
) -> BoxFeature:
    """The search, from the axis to the candidate. Features are a choice."""
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
    size: vec3, pos: vec3, mat: mat33, other: vec3, offset: vec3, rot: mat33, axis: int, line1: int, line2: int
) -> ContactGeometry:
    """Contact below a corner of the polygon, midway to the face; the normal is away from the face's box."""
    side = side_of(offset[axis])
    corner = crossing(opposed_faces(size, other, offset, rot, axis), line1, line2)
    middle = from_face(vec3(corner[0], corner[1], size[axis] + HALF * corner[2]), axis, side)
    return contact(corner[2], pos + mat * middle, side * axis_of(mat, axis))


@differentiable
def box_box(
    size1: vec3, pos1: vec3, mat1: mat33, size2: vec3, pos2: vec3, mat2: mat33, candidate: int, margin: real
) -> ContactGeometry:
    """One contact of two edges, or one per corner of the polygon."""
    rot = wp.transpose(mat1) * mat2
    pos21 = wp.transpose(mat1) * (pos2 - pos1)
    pos12 = wp.transpose(mat2) * (pos1 - pos2)
    feature = box_feature(rot, pos21, pos12, size1, size2, margin, candidate)
    if feature.axis == NO_AXIS:
        return no_contact()
    if feature.axis < 3:
        return face_contact(size1, pos1, mat1, size2, pos21, rot, feature.axis, feature.first, feature.second)
    if feature.axis < EDGES:
        g = face_contact(
            size2, pos2, mat2, size1, pos12, wp.transpose(rot), feature.axis - 3, feature.first, feature.second
        )
        return contact(g.distance, g.position, -g.normal)
    i = (feature.axis - EDGES) // 3
    j = (feature.axis - EDGES) % 3
    across = edge_axis(rot, i, j)
    n = side_of(wp.dot(across, pos21)) * across
    w = edge_witness(rot, pos21, size1, size2, i, j, feature.first, feature.second)
    middle = HALF * (w.point1 + w.point2)
    return contact(wp.dot(w.point2 - w.point1, n), pos1 + mat1 * middle, mat1 * n)
