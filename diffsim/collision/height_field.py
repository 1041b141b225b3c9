"""Contacts of a height field with convex geoms: up to one for each prism of its grid that a geom touches.

Source: MuJoCo, `mjc_ConvexHField`.
"""

import warp as wp

from diffsim.collision.convex import keep_touch, touch
from diffsim.collision.convex_shape import Shape, Support, support_point
from diffsim.collision.gjk import FAR
from diffsim.collision.loaded_shape import load_shape, without_rounding
from diffsim.collision.prisms import prism_height
from diffsim.physics.model_arrays import ModelArrays, RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, ZERO, real, vec2, vec3


@wp.func(inline=False)
def extent_along(rare: wp.array(dtype=RareArrays), shape: Shape, k: int) -> vec2:
    """The least and greatest coordinate of a shape along an axis."""
    axis = vec3()
    axis[k] = ONE
    nothing = Support(vec3(), -1, -1)
    low = support_point(rare, shape, -axis, nothing).point
    high = support_point(rare, shape, axis, nothing).point
    return vec2(low[k], high[k])


@wp.func
def cells_under(extent: vec2, size: real, count: int) -> wp.vec2i:
    """The first cell along an axis of the grid that a shape is over, and the one after the last.

    Args:
        extent: of the shape along the axis, m.
        size: half the grid's length, m.
        count: points of the grid along the axis.
    """
    cells = count - 1
    per_metre = real(cells) / (size + size)
    first = int(wp.floor((extent[0] + size) * per_metre))
    last = int(wp.ceil((extent[1] + size) * per_metre))
    return wp.vec2i(wp.max(first, 0), wp.min(last, cells))


@wp.func(inline=True)
def height_field_contacts(m: ModelArrays, s: Scratch, world: int, slot: int, pair: int):
    """Fills a pair's candidates, and the number of those that are contacts. Needs the geoms' poses.

    The search is in the height field's frame, where the prisms' sides are upright to the last bit: at the many ties of
    vertices above each other MuJoCo takes the same ones.
    """
    detection = m.pair_detection[pair]
    a = load_shape(m, s, world, m.pair_geom1[pair], HALF * detection)
    b = load_shape(m, s, world, m.pair_geom2[pair], HALF * detection)
    pos = a.pos
    mat = a.mat
    a.pos = vec3()
    a.mat = wp.identity(n=3, dtype=real)
    b.pos = wp.transpose(mat) * (b.pos - pos)
    b.mat = wp.transpose(mat) * b.mat
    size = m.rare[0].hfield_size[a.mesh]
    room = m.pair_candidates[pair]
    count = int(0)
    second = Support(vec3(), -1, -1)
    if b.pos[2] - m.geom_rbound[world * m.geom_stride + m.pair_geom2[pair]] <= size[2] + detection:
        sharp = without_rounding(b)
        aside = vec2(-detection, detection)
        columns = cells_under(extent_along(m.rare, sharp, 0) + aside, size[0], m.rare[0].hfield_ncol[a.mesh])
        rows = cells_under(extent_along(m.rare, sharp, 1) + aside, size[1], m.rare[0].hfield_nrow[a.mesh])
        lowest = extent_along(m.rare, sharp, 2)[0] - detection
        for row in range(rows[0], rows[1]):
            for i in range(2 * columns[0], 2 * columns[1]):
                a.prism = 2 * row * (m.rare[0].hfield_ncol[a.mesh] - 1) + i
                if count < room and prism_height(m.rare, a.mesh, a.prism) >= lowest:
                    t = touch(m, s, world, slot, a, b, Support(vec3(), -1, -1), second)
                    second = t.second
                    if t.distance < ZERO:
                        t.point1 = mat * t.point1 + pos
                        t.point2 = mat * t.point2 + pos
                        keep_touch(m, s, world, pair, count, t)
                        s.rare[0].candidate_feature[world, m.pair_candidateadr[pair] + count, 9] = a.prism
                        count += 1
    for k in range(count, room):
        s.candidate_distance[world, m.pair_candidateadr[pair] + k] = FAR
    s.pair_detected[world, pair] = count
