"""Cuts a polygon by the sides of another, and keeps the corners that matter."""

import warp as wp

from diffsim.collision.convex_shape import MINVAL
from diffsim.collision.gjk import vec4i
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, ONE, ZERO, real, vec3


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
