"""A quick test before the search: whether a plane along a side of one geom's bounding box separates the boxes."""

import warp as wp

from diffsim.collision.contact_frame import axis_of
from diffsim.collision.convex_shape import CAPSULE, CYLINDER, MESH, SPHERE, Shape
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import mat33, real, vec3


@wp.func
def half_sizes(rare: wp.array(dtype=RareArrays), shape: Shape) -> vec3:
    """Half the sides of a shape's bounding box, along its axes."""
    if shape.kind == MESH:
        return rare[0].mesh_half[shape.mesh]
    if shape.kind == SPHERE:
        return vec3(shape.size[0], shape.size[0], shape.size[0])
    if shape.kind == CAPSULE:
        return vec3(shape.size[0], shape.size[0], shape.size[0] + shape.size[1])
    if shape.kind == CYLINDER:
        return vec3(shape.size[0], shape.size[0], shape.size[1])
    return shape.size


@wp.func
def box_centre(rare: wp.array(dtype=RareArrays), shape: Shape) -> vec3:
    """The middle of a shape's bounding box, in the world."""
    if shape.kind == MESH:
        return shape.mat * rare[0].mesh_centre[shape.mesh] + shape.pos
    return shape.pos


@wp.func
def apart_along(mat: mat33, half: vec3, other_mat: mat33, other_half: vec3, step: vec3, margin: real) -> bool:
    """Whether a plane along a side of the first box separates two boxes whose centres are a step apart."""
    for k in range(3):
        axis = axis_of(mat, k)
        reach = half[k] + margin
        for i in range(3):
            reach += other_half[i] * wp.abs(wp.dot(axis, axis_of(other_mat, i)))
        if wp.abs(wp.dot(axis, step)) > reach:
            return True
    return False


@wp.func
def boxes_apart(rare: wp.array(dtype=RareArrays), a: Shape, b: Shape, margin: real) -> bool:
    """Whether two shapes are farther apart than a margin by their bounding boxes."""
    step = box_centre(rare, b) - box_centre(rare, a)
    half1 = half_sizes(rare, a)
    half2 = half_sizes(rare, b)
    return apart_along(a.mat, half1, b.mat, half2, step, margin) or apart_along(
        b.mat, half2, a.mat, half1, step, margin
    )
