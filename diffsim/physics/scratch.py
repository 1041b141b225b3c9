"""Working memory of the simulator: one struct of arrays indexed [world, ...].

On the CPU all stages run for one world after the other, so all worlds share one row (stride zero), which stays in the
cache. On CUDA each world has its row, whose neighbouring numbers the world's lanes read together.
"""

from collections.abc import Mapping
from typing import Any

import torch
import warp as wp

from diffsim.types import kernel_dtype, mat33, quat, real, vec2, vec3, vec6, vec7, vec11

# Quantities of one evaluation: type, and shape for one world. Twists and wrenches are about the root body's origin.
FIELDS = {
    # evaluation point
    "qpos": (real, ("nq",)),  # m, rad
    "qvel": (real, ("nv",)),  # m/s, rad/s
    "act": (real, ("na",)),
    "qacc": (real, ("nv",)),  # m/s^2, rad/s^2
    "ctrl": (real, ("nu",)),
    "qfrc_applied": (real, ("nv",)),  # N, N m
    "mocap_pos": (vec3, ("nmocap",)),  # m
    "mocap_quat": (quat, ("nmocap",)),
    "eq_active": (wp.int32, ("neq",)),
    "has_xfrc": (wp.int32, ()),  # 1 if the inputs have forces on bodies, see `applied`
    "xfrc": (vec6, ("nbody",)),  # torque, and force at the centre of mass; undefined without
    # kinematics
    "xpos": (vec3, ("nbody",)),  # m
    "xquat": (quat, ("nbody",)),
    "joint_anchor": (vec3, ("njnt",)),  # m
    "joint_axis": (vec3, ("njnt",)),
    "motion": (vec6, ("nv",)),  # twist per unit of joint velocity
    # inertia
    "body_moment": (vec3, ("nbody",)),  # kg m, mass * com
    "body_rotary": (mat33, ("nbody",)),  # kg m^2
    "subtree_mass": (real, ("nbody",)),  # kg
    "subtree_moment": (vec3, ("nbody",)),  # kg m
    "subtree_rotary": (mat33, ("nbody",)),  # kg m^2
    "mass_matrix": (real, ("nv", "nv")),  # lower triangle; zero where no dof of the row's chain is
    "hessian": (real, ("nv", "nv")),  # lower triangle, then its factor; undefined outside its runs
    # lines: see `line`
    "line_length": (real, ("line",)),  # m, rad
    "line_moment": (real, ("line_entry",)),  # J
    # velocities and forces
    "velocity": (vec6, ("nbody",)),  # twist
    "acceleration": (vec6, ("nbody",)),  # rate of the twist, gravity included
    "wrench": (vec6, ("nbody",)),  # wrench
    "drift": (vec6, ("nbody",)),  # rate of the twist at qacc = 0, without gravity
    "actuator_force": (real, ("actuator",)),
    "qfrc_gravcomp": (real, ("nv",)),
    "qfrc_actuator": (real, ("nv",)),
    "qfrc_smooth": (real, ("nv",)),  # all but constraint forces
    "qfrc_constraint": (real, ("nv",)),
    # constraint rows
    "eq_row": (wp.int32, ("neq",)),  # first row of a connect or weld constraint, -1 if it is inactive
    "row_count": (wp.int32, ()),
    "row_kind": (wp.int32, ("row",)),  # kind, source and state: named in `constraint`
    "row_source": (wp.int32, ("row",)),
    "row_index": (wp.int32, ("row",)),  # index of the source
    "row_params": (wp.int32, ("row",)),  # index of the solver parameters
    "row_jacobian": (real, ("row", "nv")),  # J, zero and undefined outside its runs
    "row_first_run": (wp.int32, ("row",)),  # its runs in `run`: see `sparse`
    "row_last_run": (wp.int32, ("row",)),
    "row_position": (real, ("row",)),  # r: distance minus margin, m or rad
    "row_size": (real, ("row",)),  # |r| of the whole constraint
    "row_invweight": (real, ("row",)),  # A
    "row_stiffness": (real, ("row",)),  # D
    "row_aref": (real, ("row",)),  # reference acceleration
    "row_limit": (real, ("row",)),  # largest friction
    "row_residual": (real, ("row",)),  # J a - aref
    "row_along": (real, ("row",)),  # J search
    "row_derivatives": (vec2, ("row",)),  # of the cost along the search direction, negated first and second
    "row_state": (wp.int32, ("row",)),
    "row_force": (real, ("row",)),  # f
    # sparsity of the rows and, if rows couple several branches of the tree, of the Hessian
    "run_count": (wp.int32, ()),
    "run": (wp.int32, ("run", 2)),
    "coupled": (wp.int32, ()),
    "hessian_mask": (wp.int32, ("nv", "word")),  # bits of the nonzero columns
    "hessian_address": (wp.int32, ("row_end",)),
    "hessian_run": (wp.int32, ("hessian_run", 2)),
    # contacts
    "geom_pos": (vec3, ("ngeom",)),  # m
    "geom_mat": (mat33, ("ngeom",)),
    "pair_detected": (wp.int32, ("pair",)),  # number of candidates within the detection distance; see `diffsim.stages`
    "candidate_distance": (real, ("candidate",)),  # m
    "candidate_point": (vec3, ("candidate",)),  # m
    "candidate_frame": (mat33, ("candidate",)),
    "contact_count": (wp.int32, ()),  # contacts with rows: see `contact_list`
    "contact_peak": (wp.int32, ()),  # largest number of contacts, also beyond the room for them
    "iteration_peak": (wp.int32, ()),  # largest number of solver iterations
    "contact_pair": (wp.int32, ("contact",)),
    "contact_candidate": (wp.int32, ("contact",)),
    "contact_distance": (real, ("contact",)),  # m
    "contact_row": (wp.int32, ("contact",)),  # its first row
    "contact_run": (wp.int32, ("contact",)),  # the first of the runs of its rows
    "contact_point": (vec3, ("contact",)),  # m
    "contact_frame": (mat33, ("contact",)),  # rows: normal, two tangents
    # solver
    "search": (real, ("nv",)),  # search direction
    "momentum": (real, ("nv",)),  # M qacc
    "search_momentum": (real, ("nv",)),  # M search
    "work": (real, ("nv",)),  # temporary values
    # integrators
    "implicit_qacc": (real, ("nv",)),  # w, the acceleration for the velocity step; qacc where that is explicit
    "gyro_columns": (real, (3, "nv")),
    "unsymmetric": (real, ("unsymmetric", "nv")),  # M - h D of the integrator "implicit", then its factors
    "stage_rate": (real, (4, "nv")),  # rates of position of the Runge-Kutta stages
    # adjoint: cotangents of the evaluation point, in the tangent space
    "qpos_bar": (real, ("nv",)),
    "qvel_bar": (real, ("nv",)),
    "act_bar": (real, ("na",)),
    "qacc_bar": (real, ("nv",)),
    "ctrl_bar": (real, ("nu",)),
    "applied_bar": (real, ("nv",)),  # cotangent of qfrc_applied
    "xfrc_bar": (vec6, ("nbody",)),  # cotangents of torque and force
    "mocap_bar": (vec6, ("nmocap",)),  # of a mocap body's pose, as a wrench about its origin
    "constraint_bar": (real, ("nv",)),  # kappa, cotangent of qfrc_constraint
    "actuator_bar": (vec3, ("actuator",)),  # cotangents of input, length and velocity
    "actuator_sensed_bar": (vec3, ("actuator",)),  # of forces, lengths, velocities; zero outside of `elements`
    # adjoint: the virtual velocity and its twists, and the cotangents of the bodies' twists
    "virtual_velocity": (real, ("nv",)),  # lambda
    "virtual_twist": (vec6, ("nbody",)),  # of lambda; in `implicit`, of mu
    "virtual_twist_bar": (vec6, ("nbody",)),
    "velocity_bar": (vec6, ("nbody",)),
    "acceleration_bar": (vec6, ("nbody",)),
    "pose_bar": (vec6, ("nbody",)),  # of the body's pose, as a wrench
    # adjoint: lambda + kappa, and for constraints between bodies the twists of it and of qacc
    "constraint_velocity": (real, ("nv",)),
    "constraint_twist": (vec6, ("nbody",)),
    "constraint_twist_bar": (vec6, ("nbody",)),
    "qacc_twist": (vec6, ("nbody",)),  # of qacc; in `implicit`, of a - w or w
    "qacc_twist_bar": (vec6, ("nbody",)),
    # adjoint: what the gravity compensation acts on
    "gravcomp_velocity": (real, ("nv",)),
    "gravcomp_twist": (vec6, ("nbody",)),
    "gravcomp_twist_bar": (vec6, ("nbody",)),
    # adjoint of `constraint_forces`: cotangents of the rows' forces, which add to J x, and of contacts; zero elsewhere
    "row_force_bar": (real, ("row",)),
    "contact_sensed": (wp.int32, ("contact",)),
    "contact_distance_bar": (real, ("contact",)),
    "contact_point_bar": (vec3, ("contact",)),
    "contact_frame_bar": (mat33, ("contact",)),
    # adjoint: each contact's cotangents of its two bodies; see `contact_gradient`
    "contact_active": (wp.int32, ("contact",)),
    "contact_alpha": (vec6, ("contact",)),
    "contact_beta": (vec6, ("contact",)),
    "contact_r_bar": (real, ("contact",)),
    "contact_damping": (real, ("contact",)),
    "contact_push": (vec6, ("contact", 2)),
    "contact_pull": (vec6, ("contact", 2)),
    "contact_pose": (vec6, ("contact", 2)),
    "contact_geom_bar": (vec3, ("contact", 4)),  # of positions and sizes of both geoms; for gradients of parameters
    # adjoint: lines' cotangents, see `line_gradient`, and the twists of one more vector
    "line_bar": (vec7, ("line",)),
    "line_velocity": (real, ("nv",)),  # zero where it is not used
    "push_twist": (vec6, ("nbody",)),
    "push_twist_bar": (vec6, ("nbody",)),
    "parameter_bar": (real, ("parameter",)),  # in the order of `diffsim.compile.parameters`
    # adjoint: implicit velocity step
    "implicit_qacc_bar": (real, ("nv",)),
    "multiplier": (real, ("nv",)),  # mu
    "qacc_change": (real, ("nv",)),  # a - w
    "jacobian_row": (wp.int32, ()),  # of the stages `linearize`
    # adjoint: integrators
    "state_qpos_bar": (real, ("nv",)),  # at the start of a step
    "state_qvel_bar": (real, ("nv",)),
    "state_act_bar": (real, ("na",)),
    "next_qpos_bar": (real, ("nv",)),  # at the end of a step
    "next_qvel_bar": (real, ("nv",)),
    "next_act_bar": (real, ("na",)),
    "step_bar": (real, ("nv",)),  # of Euler's next velocity, or of a stage's rate from the next stage
    "rate_bar": (real, ("nv",)),  # of a stage's rate
    "step_rate_bar": (real, ("nv",)),  # of the weighted sum of the stages' rates
    "acceleration_step_bar": (real, ("nv",)),  # of a stage's acceleration, from the next stage
    "act_rate_bar": (real, ("na",)),  # of the weighted sum of the stages' rates of activation
    "act_step_bar": (real, ("na",)),  # of a stage's rate of activation, from the next stage
}

# Vectors of the noslip solver
START = wp.constant(0)  # qacc before it
END = wp.constant(1)  # qacc after it
RUNNING = wp.constant(2)  # qacc between two updates
START_BAR = wp.constant(3)  # cotangent of START
RESPONSE = wp.constant(4)  # y, see `noslip_adjoint`
PUSH = wp.constant(5)  # Lambda

# Quantities of rare features, which kernels reach by `s.rare[0]`: with them, `Scratch` would be too large for NVRTC.
RARE_FIELDS: dict[str, tuple[type, tuple[str | int, ...]]] = {
    "contact_total": (wp.int32, ()),  # contacts with those in the gap: see `contact_list`
    # noslip solver: see `noslip` and, for the adjoint, `noslip_adjoint`
    "noslip_vector": (real, ("noslip_vector", "nv")),  # named in `noslip`
    "noslip_response": (real, ("noslip_row", "nv")),  # X = M^-1 J'
    "noslip_force": (real, ("noslip_force", "row")),  # before each sweep, and after the last
    "noslip_ending": (wp.int32, ("noslip_sweep", "row")),  # what an update was, at a contact's or edge's first row
    "noslip_island": (wp.int32, ("noslip_row",)),  # the first tree of each row's island
    "noslip_tree": (wp.int32, ("noslip_tree",)),  # another tree of a tree's island, or itself
    "noslip_sweeps": (wp.int32, ("noslip_tree",)),  # of an island, at its first tree
    "noslip_inertia": (real, ("noslip_tree",)),  # of an island, the trace of its part of M
    "noslip_gain": (real, ("noslip_tree",)),  # decrease of an island's cost in a sweep
    "noslip_weight": (real, ("noslip_row",)),  # w, cotangents of the rows' residuals
    "noslip_pull": (real, ("noslip_row", "nv")),  # alpha and beta, whose sum is the cotangent of J
    "noslip_push": (real, ("noslip_row", "nv")),
    # servos: see `servo`
    "servo_force": (vec3, ("servo",)),  # driving, dragging, and the derivative of the first by the velocity
    "servo_point": (vec11, ("servo",)),
    "servo_slope": (vec11, ("servo", 3)),  # gradients of these by the point
    "act_rate": (real, (4, "na")),  # of servos' activations, in the stages of a Runge-Kutta step
    "act_end": (real, ("na",)),  # after the step
    # penetration of convex geoms: the polytopes of a world's threads, and the features of contacts
    "polytope_point": (vec3, ("polytope", "polytope_vertex", 3)),  # m; of the difference, and of both geoms
    "polytope_vertex": (wp.int32, ("polytope", "polytope_vertex", 2)),  # of meshes and boxes, else -1
    "polytope_foot": (vec3, ("polytope", "polytope_face")),  # m, the origin's projection on each face, outward
    "polytope_distance2": (real, ("polytope", "polytope_face")),  # m^2, of the projection
    "polytope_face": (wp.int32, ("polytope", "polytope_face", 7)),  # see `diffsim.collision.polytope`
    "polytope_open": (wp.int32, ("polytope", "polytope_face")),  # faces that can be the closest
    "polytope_edge": (wp.int32, ("polytope", "polytope_face", 2)),  # faces and their edges to visit, and the horizon
    "polytope_count": (wp.int32, ("polytope", 4)),  # of vertices, faces, open faces, edges of the horizon
    "clip_point": (vec3, ("polytope", 2, "clip_corner")),  # m, corners of a polygon that is clipped
    "clip_line": (wp.int32, ("polytope", 4, "clip_corner")),  # the lines before and after each
    "candidate_witness": (vec3, ("convex_candidate", 2)),  # m, the witness points of the pair's search
    "candidate_feature": (wp.int32, ("convex_candidate", 14)),  # see `diffsim.collision.convex`
}


def _struct(name: str, fields: Mapping[str, tuple[Any, tuple[str | int, ...]]], **others: Any) -> type:  # noqa: ANN401
    """Makes a struct of fields, and of other members with their types."""
    annotations = others | {name: wp.array(dtype=kind, ndim=1 + len(shape)) for name, (kind, shape) in fields.items()}
    namespace = {"__annotations__": annotations, "__module__": __name__, "__doc__": "Working memory: see the fields."}
    return wp.struct(type(name, (), namespace))


RareScratch = _struct("RareScratch", RARE_FIELDS)
# `first_world` is the world of a launch's first thread.
Scratch = _struct("Scratch", FIELDS, first_world=wp.int32, rare=wp.array(dtype=RareScratch))


def world_array(num_worlds: int, shape: tuple[int, ...], kind: type, device: str, shared: bool = False) -> wp.array:
    """An array of zeros indexed [world, *shape].

    Args:
        num_worlds: N.
        shape: for one world. A size of zero becomes one, because a kernel argument needs an address.
        kind: a scalar, vector or matrix type of `diffsim.types`, or int32.
        device: torch device.
        shared: whether all worlds use the same memory; for values that are used while one world is worked on.
    """
    shape = tuple(max(1, size) for size in shape)
    inner = tuple(getattr(kind, "_shape_", ()))
    torch_type = torch.int32 if kind is wp.int32 else kernel_dtype
    rows = 1 if shared else num_worlds
    memory = torch.zeros((rows, *shape, *inner), dtype=torch_type, device=device).expand(num_worlds, *shape, *inner)
    return wp.from_torch(memory, dtype=kind, requires_grad=False)


def make_scratch(sizes: Mapping[str, int], num_worlds: int, device: str, shared: bool) -> Any:  # noqa: ANN401
    """Working memory, a Warp struct, on a device.

    `sizes` gives the model's value of each name in the shapes of the fields; `shared` is as in `world_array`.
    """
    scratch, rare = Scratch(), RareScratch()
    for struct, fields in ((scratch, FIELDS), (rare, RARE_FIELDS)):
        for name, (kind, shape) in fields.items():
            shape = tuple(sizes[size] if isinstance(size, str) else size for size in shape)
            setattr(struct, name, world_array(num_worlds, shape, kind, device, shared))
    scratch.rare = wp.array([rare], dtype=RareScratch, device=device)
    scratch.rare.members = rare  # keeps their memory
    return scratch
