"""Contacts of a plane with a mesh: the deepest vertex, and others of the face there that looks most to the plane.

Of a face with more than four corners, four with a large area are taken, the deepest vertex among them; those below the
plane are contacts. Source: MuJoCo, `mjc_PlaneConvex`.
"""

import warp as wp

from diffsim.collision.contact_frame import axis_of, contact_frame
from diffsim.collision.convex_shape import Shape, Support, support_point
from diffsim.collision.face_clip import facing
from diffsim.collision.gjk import FAR, vec4i
from diffsim.collision.polygon_clip import largest_four
from diffsim.collision.polygons import mesh_faces, vec3i
from diffsim.physics.model_arrays import ModelArrays, RareArrays
from diffsim.physics.scratch import Scratch
from diffsim.types import HALF, mat33, real, vec3

VERTEX = wp.constant(4)  # kind of the contact's feature: a mesh's vertex


@wp.func
def face_place(rare: wp.array(dtype=RareArrays), shape: Shape, face: int, vertex: int) -> int:
    """The place of a vertex among a polygon's corners."""
    start = rare[0].mesh_polyvertadr[shape.polyadr + face]
    for k in range(rare[0].mesh_polyvertnum[shape.polyadr + face]):
        if rare[0].mesh_polyvert[start + k] == vertex:
            return k
    return 0


@wp.func(inline=True)
def keep_vertex(m: ModelArrays, s: Scratch, world: int, place: int, shape: Shape, vertex: int, point: vec3, mat: mat33):
    """Makes a vertex of a mesh a candidate."""
    normal = axis_of(mat, 2)
    corner = shape.mat * m.rare[0].mesh_vert[shape.vertadr + vertex] + shape.pos
    distance = wp.dot(normal, corner - point)
    s.candidate_distance[world, place] = distance
    s.candidate_point[world, place] = corner - HALF * distance * normal
    s.candidate_frame[world, place] = contact_frame(normal, vec3())
    s.rare[0].candidate_feature[world, place, 0] = VERTEX
    s.rare[0].candidate_feature[world, place, 6] = vertex


@wp.func(inline=True)
def plane_mesh_contacts(m: ModelArrays, s: Scratch, world: int, slot: int, pair: int, plane: int, shape: Shape):
    """Fills a pair's candidates, and the number of those that are contacts. Needs the geoms' poses."""
    mat = s.geom_mat[world, plane]
    point = s.geom_pos[world, plane]
    detection = m.pair_detection[pair]
    start = m.pair_candidateadr[pair]
    down = -axis_of(mat, 2)
    deepest = support_point(m.rare, shape, down, Support(vec3(), -1, -1)).vertex
    keep_vertex(m, s, world, start, shape, deepest, point, mat)
    count = int(0)
    if s.candidate_distance[world, start] <= detection:
        count = 1
    if count == 1 and shape.polynum > 0:
        face, _along = facing(m.rare, shape, mesh_faces(m.rare, shape, 1, vec3i(deepest, 0, 0)), down)
        if face >= 0:
            corners = m.rare[0].mesh_polyvertnum[shape.polyadr + face]
            address = m.rare[0].mesh_polyvertadr[shape.polyadr + face]
            first = face_place(m.rare, shape, face, deepest)
            chosen = vec4i(0, 1, 2, 3)
            if corners > 4:
                for k in range(corners):
                    vertex = m.rare[0].mesh_polyvert[address + (first + k) % corners]
                    s.rare[0].clip_point[world, slot, 0, k] = m.rare[0].mesh_vert[shape.vertadr + vertex]
                chosen = largest_four(s, world, slot, 0, corners)
            for k in range(1, wp.min(corners, 4)):
                vertex = m.rare[0].mesh_polyvert[address + (first + chosen[k]) % corners]
                keep_vertex(m, s, world, start + count, shape, vertex, point, mat)
                if s.candidate_distance[world, start + count] <= detection:
                    count += 1
    for k in range(count, m.pair_candidates[pair]):
        s.candidate_distance[world, start + k] = real(FAR)
    s.pair_detected[world, pair] = count
