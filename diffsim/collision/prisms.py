"""The prisms of a height field: each triangle of its grid, down to its base, is a convex shape, as in C MuJoCo.

A cell of the grid has two prisms. Their numbers go along a row of cells, and then to the next row.
Source: MuJoCo, `mjc_ConvexHField`.
"""

import warp as wp

from diffsim.physics.model_arrays import RareArrays
from diffsim.types import ZERO, real, vec3

BASE_CORNERS = wp.constant(3)  # vertices 0, 1, 2 are at the base, and 3, 4, 5 above them on the surface
SIXTH = wp.constant(real(1.0 / 6.0))


@wp.func
def prism_vertex(rare: wp.array(dtype=RareArrays), field: int, prism: int, k: int) -> vec3:
    """Vertex k of a prism, in the height field's frame."""
    columns = rare[0].hfield_ncol[field]
    size = rare[0].hfield_size[field]
    cell = prism / 2
    corner = prism % 2 + k % BASE_CORNERS  # of the cell's four: along each column from the last row to the first
    column = cell % (columns - 1) + corner / 2
    row = cell / (columns - 1) + 1 - corner % 2
    z = -size[3]
    if k >= BASE_CORNERS:
        z = size[2] * rare[0].hfield_data[rare[0].hfield_adr[field] + row * columns + column]
    step = rare[0].hfield_step[field]
    return vec3(step[0] * real(column) - size[0], step[1] * real(row) - size[1], z)


@wp.func
def prism_support(rare: wp.array(dtype=RareArrays), field: int, prism: int, d: vec3) -> int:
    """The farthest vertex of a prism in a direction, in the height field's frame; of equal ones the first."""
    best = BASE_CORNERS
    if d[2] < ZERO:
        best = 0
    start = best
    greatest = wp.dot(d, prism_vertex(rare, field, prism, start))
    for k in range(1, BASE_CORNERS):
        along = wp.dot(d, prism_vertex(rare, field, prism, start + k))
        if along > greatest:
            greatest = along
            best = start + k
    return best


@wp.func
def prism_centre(rare: wp.array(dtype=RareArrays), field: int, prism: int) -> vec3:
    """The mean of a prism's vertices, in the height field's frame."""
    total = vec3()
    for k in range(2 * BASE_CORNERS):
        total += prism_vertex(rare, field, prism, k)
    return SIXTH * total


@wp.func
def prism_height(rare: wp.array(dtype=RareArrays), field: int, prism: int) -> real:
    """The highest point of a prism, in the height field's frame."""
    height = prism_vertex(rare, field, prism, 3)[2]
    return wp.max(wp.max(height, prism_vertex(rare, field, prism, 4)[2]), prism_vertex(rare, field, prism, 5)[2])
