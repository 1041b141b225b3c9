"""Distance of two convex shapes: the algorithm of Gilbert, Johnson and Keerthi.

It walks through simplices in the Minkowski difference, the set of differences of points of the two shapes, towards the
point that is closest to the origin. The steps, tolerances and ends are those of C MuJoCo, so that the results agree
where they are not converged. Source: MuJoCo, `mjc_ccd`, `mjc_gjk`.
"""

import warp as wp

from diffsim.collision.convex_shape import MINVAL, Shape, Support, centre_of, is_discrete, support_point
from diffsim.collision.simplex import closest_in_simplex, combined, mat43
from diffsim.physics.model_arrays import RareArrays
from diffsim.types import HALF, ONE, ZERO, real, vec3, vec4

vec4i = wp.types.vector(4, wp.int32)
FAR = wp.constant(real(1.0e30))


@wp.struct
class Vertex:
    """A point of the Minkowski difference, and the two support points that give it."""

    point: vec3
    first: Support
    second: Support


@wp.struct
class Simplex:
    """Up to four points of the Minkowski difference; rows beyond the count are unused."""

    count: int
    point: mat43
    point1: mat43  # of the first shape
    point2: mat43
    vertex1: vec4i  # of a mesh or box, else -1
    vertex2: vec4i


@wp.struct
class Distance:
    """Result of the search."""

    separated: int
    distance: real  # m; FAR if it was not needed
    point1: vec3  # witness points
    point2: vec3
    simplex: Simplex
    first: Support  # ends of the last searches among vertices
    second: Support


@wp.func(inline=False)
def difference(
    rare: wp.array(dtype=RareArrays), a: Shape, b: Shape, direction: vec3, first: Support, second: Support
) -> Vertex:
    """The farthest point of the Minkowski difference in a direction."""
    on_a = support_point(rare, a, direction, first)
    on_b = support_point(rare, b, -direction, second)
    return Vertex(on_a.point - on_b.point, on_a, on_b)


@wp.func
def put(simplex: Simplex, k: int, v: Vertex) -> Simplex:
    """The simplex with corner k replaced."""
    point = simplex.point
    point1 = simplex.point1
    point2 = simplex.point2
    vertex1 = simplex.vertex1
    vertex2 = simplex.vertex2
    for i in range(3):
        point[k, i] = v.point[i]
        point1[k, i] = v.first.point[i]
        point2[k, i] = v.second.point[i]
    vertex1[k] = v.first.vertex
    vertex2[k] = v.second.vertex
    return Simplex(simplex.count, point, point1, point2, vertex1, vertex2)


@wp.func
def without_zeros(simplex: Simplex, coordinates: vec4):
    """The corners whose coordinates are not zero, and these."""
    point = simplex.point
    point1 = simplex.point1
    point2 = simplex.point2
    vertex1 = simplex.vertex1
    vertex2 = simplex.vertex2
    kept = coordinates
    count = int(0)
    for k in range(4):
        if coordinates[k] != ZERO:
            for i in range(3):
                point[count, i] = point[k, i]
                point1[count, i] = point1[k, i]
                point2[count, i] = point2[k, i]
            vertex1[count] = vertex1[k]
            vertex2[count] = vertex2[k]
            kept[count] = coordinates[k]
            count += 1
    for k in range(count, 4):
        kept[k] = ZERO
    return Simplex(count, point, point1, point2, vertex1, vertex2), kept


@wp.func(inline=False)
def distance_of(
    rare: wp.array(dtype=RareArrays),
    a: Shape,
    b: Shape,
    first: Support,
    second: Support,
    tolerance: real,
    limit: int,
    cutoff: real,
) -> Distance:
    """The search, from the shapes' centres. A positive cutoff asks for the distance up to it; zero, for overlap."""
    result = Distance()
    result.distance = FAR
    epsilon = HALF * tolerance * tolerance
    least = tolerance
    if is_discrete(a) and is_discrete(b):
        epsilon = real(0.0)
        least = MINVAL
    simplex = Simplex()
    coordinates = vec4()
    point1 = centre_of(rare, a)
    point2 = centre_of(rare, b)
    x = point1 - point2
    norm = wp.length(x)
    before = real(0.0)
    count = int(0)
    step = int(0)
    while step < limit:
        if norm < least or wp.abs(before - norm) < MINVAL:
            break
        v = difference(rare, a, b, -((ONE / norm) * x), first, second)
        first = v.first
        second = v.second
        simplex = put(simplex, count, v)
        if wp.dot(x, x - v.point) < epsilon:
            break
        lower = wp.dot(x, v.point)
        if lower > ZERO and (cutoff == ZERO or lower >= cutoff * norm):
            result.separated = 1
            result.first = first
            result.second = second
            return result
        coordinates = closest_in_simplex(simplex.point, count + 1)
        simplex, coordinates = without_zeros(simplex, coordinates)
        count = simplex.count
        if count < 1:
            result.separated = 1
            result.first = first
            result.second = second
            return result
        x = combined(coordinates, simplex.point)
        before = norm
        norm = wp.length(x)
        if count == 4:
            break
        step += 1
    if count > 0:
        point1 = combined(coordinates, simplex.point1)
        point2 = combined(coordinates, simplex.point2)
    v = difference(rare, a, b, -((ONE / norm) * x), first, second)
    result.first = v.first
    result.second = v.second
    if wp.dot(x, v.point) > ZERO:
        result.separated = 1
    result.point1 = point1
    result.point2 = point2
    result.simplex = Simplex(count, simplex.point, simplex.point1, simplex.point2, simplex.vertex1, simplex.vertex2)
    result.distance = norm
    if count == 4 and result.separated == 0:
        result.distance = real(0.0)
    return result
