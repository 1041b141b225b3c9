"""The point of a simplex that is closest to the origin, by its barycentric coordinates: the signed volumes method.

Source: Montanari, Petrinic, Barbieri (2017), "Improving the GJK algorithm for faster and more reliable distance
queries between convex objects", as in C MuJoCo.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL
from diffsim.types import ONE, ZERO, real, vec2, vec3, vec4

mat43 = wp.types.matrix((4, 3), real)
GREATEST = wp.constant(real(1.0e30))


@wp.func
def determinant(x: vec3, y: vec3, z: vec3) -> real:
    """Of the matrix with these columns."""
    return x[0] * (y[1] * z[2] - y[2] * z[1]) + x[1] * (y[2] * z[0] - y[0] * z[2]) + x[2] * (y[0] * z[1] - y[1] * z[0])


@wp.func
def same_sign(x: real, y: real) -> bool:
    """Whether both are positive or both negative."""
    return (x > ZERO and y > ZERO) or (x < ZERO and y < ZERO)


@wp.func(inline=False)
def origin_on_plane(x: vec3, y: vec3, z: vec3):
    """The origin's projection on the plane of three points, and whether they have a plane."""
    xy = y - x
    xz = z - x
    yz = z - y
    point = vec3()
    for k in range(3):
        n = wp.cross(yz, xy)
        base = y
        if k == 1:
            n = wp.cross(xy, xz)
            base = x
        if k == 2:
            n = wp.cross(xz, yz)
            base = z
        along = wp.dot(n, base)
        square = wp.dot(n, n)
        if k < 2 and square == ZERO:
            return point, False
        if k == 2 or (along != ZERO and square > MINVAL):
            return (along / square) * n, True
    return point, False


@wp.func
def widest_plane(x: vec3, y: vec3, z: vec3):
    """The axes on which a triangle's projection is largest, and twice its signed area there."""
    area0 = y[1] * z[2] - y[2] * z[1] - x[1] * z[2] + x[2] * z[1] + x[1] * y[2] - x[2] * y[1]
    area1 = y[0] * z[2] - y[2] * z[0] - x[0] * z[2] + x[2] * z[0] + x[0] * y[2] - x[2] * y[0]
    area2 = y[0] * z[1] - y[1] * z[0] - x[0] * z[1] + x[1] * z[0] + x[0] * y[1] - x[1] * y[0]
    if wp.abs(area0) >= wp.abs(area1) and wp.abs(area0) >= wp.abs(area2):
        return 1, 2, area0
    if wp.abs(area1) >= wp.abs(area2):
        return 0, 2, area1
    return 0, 1, area2


@wp.func
def areas(x: vec3, y: vec3, z: vec3, p: vec3, i: int, j: int) -> vec3:
    """Twice the signed areas of the triangles of p with two of the others, on the axes i and j."""
    return vec3(
        p[i] * y[j] + p[j] * z[i] + y[i] * z[j] - p[i] * z[j] - p[j] * y[i] - z[i] * y[j],
        p[i] * z[j] + p[j] * x[i] + z[i] * x[j] - p[i] * x[j] - p[j] * z[i] - x[i] * z[j],
        p[i] * x[j] + p[j] * y[i] + x[i] * y[j] - p[i] * y[j] - p[j] * x[i] - y[i] * x[j],
    )


@wp.func
def affine_coordinates(x: vec3, y: vec3, z: vec3, p: vec3) -> vec3:
    """Coordinates of a point on the plane of three others."""
    i, j, area = widest_plane(x, y, z)
    return areas(x, y, z, p, i, j) / area


@wp.func(inline=False)
def closest_on_line(x: vec3, y: vec3) -> vec2:
    """Barycentric coordinates of the origin's closest point on a segment."""
    step = y - x
    point = y - (wp.dot(y, step) / wp.dot(step, step)) * step
    axis = int(0)
    for k in range(1, 3):
        if wp.abs(x[k] - y[k]) >= wp.abs(x[axis] - y[axis]):
            axis = k
    length = x[axis] - y[axis]
    to_y = point[axis] - y[axis]
    from_x = x[axis] - point[axis]
    if same_sign(length, to_y) and same_sign(length, from_x):
        return vec2(to_y / length, from_x / length)
    return vec2(ZERO, ONE)


@wp.func(inline=False)
def closest_on_triangle(x: vec3, y: vec3, z: vec3) -> vec3:
    """As `closest_on_line`, on a triangle."""
    point, flat = origin_on_plane(x, y, z)
    if not flat:
        line = closest_on_line(x, y)
        return vec3(line[0], line[1], ZERO)
    i, j, area = widest_plane(x, y, z)
    parts = areas(x, y, z, point, i, j)
    inside = vec3()
    for k in range(3):
        if same_sign(area, parts[k]):
            inside[k] = ONE
    if inside[0] + inside[1] + inside[2] == real(3.0):
        return parts / area
    best = vec3()
    least = real(GREATEST)
    for k in range(3):
        if inside[k] == ZERO:
            first = x
            second = y
            if k == 0:
                first = y
                second = z
            if k == 1:
                second = z
            line = closest_on_line(first, second)
            close = line[0] * first + line[1] * second
            square = wp.dot(close, close)
            if square < least:
                least = square
                best = vec3(line[0], line[1], ZERO)
                if k == 0:
                    best = vec3(ZERO, line[0], line[1])
                if k == 1:
                    best = vec3(line[0], ZERO, line[1])
    return best


@wp.func
def closest_on_tetrahedron(p: mat43) -> vec4:
    """As `closest_on_line`, in a tetrahedron."""
    volumes = vec4(
        -determinant(p[1], p[2], p[3]),
        determinant(p[0], p[2], p[3]),
        -determinant(p[0], p[1], p[3]),
        determinant(p[0], p[1], p[2]),
    )
    volume = volumes[0] + volumes[1] + volumes[2] + volumes[3]
    outside = int(0)
    for k in range(4):
        if not same_sign(volume, volumes[k]):
            outside += 1
    if outside == 0:
        return volumes / volume
    best = vec4()
    least = real(GREATEST)
    for k in range(4):
        if not same_sign(volume, volumes[k]):
            i = int(0)
            j = int(1)
            n = int(2)
            if k < 1:
                i = 1
            if k < 2:
                j = 2
            if k < 3:
                n = 3
            part = closest_on_triangle(p[i], p[j], p[n])
            close = part[0] * p[i] + part[1] * p[j] + part[2] * p[n]
            square = wp.dot(close, close)
            if square < least:
                least = square
                best = vec4()
                best[i] = part[0]
                best[j] = part[1]
                best[n] = part[2]
    return best


@wp.func
def closest_in_simplex(p: mat43, count: int) -> vec4:
    """Barycentric coordinates of the point closest to the origin, of a simplex with 1 to 4 corners."""
    if count == 4:
        return closest_on_tetrahedron(p)
    if count == 3:
        part = closest_on_triangle(p[0], p[1], p[2])
        return vec4(part[0], part[1], part[2], ZERO)
    if count == 2:
        line = closest_on_line(p[0], p[1])
        return vec4(line[0], line[1], ZERO, ZERO)
    return vec4(ONE, ZERO, ZERO, ZERO)


@wp.func
def combined(coordinates: vec4, p: mat43) -> vec3:
    """The point of a simplex with some coordinates."""
    return coordinates[0] * p[0] + coordinates[1] * p[1] + coordinates[2] * p[2] + coordinates[3] * p[3]
