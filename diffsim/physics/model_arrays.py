"""The model as one struct of numbers and arrays, an argument of the kernels."""

import warp as wp

from diffsim.types import mat33, quat, real, vec2, vec3, vec4, vec6


@wp.struct
class RareArrays:
    """Arrays of rare features: kernels load their addresses where used, those of `ModelArrays` at the start."""

    # ellipsoids in the medium [nellipsoid]: their geoms, and the vectors and numbers of `ellipsoid.Ellipsoid`
    ellipsoid_geom: wp.array(dtype=wp.int32)
    ellipsoid_whole: wp.array(dtype=wp.int32)  # 1 if implicit steps have more than its symmetric derivative
    ellipsoid_vectors: wp.array2d(dtype=vec3)
    ellipsoid_numbers: wp.array2d(dtype=real)
    # material velocities of geoms [ngeom]
    geom_surfacevel: wp.array(dtype=vec6)  # (angular, linear), rad/s, m/s, in the geom's frame
    # pairs of geoms [npair]
    pair_adhesion: wp.array(dtype=real)  # N
    pair_friction_damping: wp.array(dtype=real)  # b of an elliptic cone's rows of friction, -1 for that of the first
    # equality constraints of tendons [ntendon_eq]
    tendon_eq_id: wp.array(dtype=wp.int32)
    tendon_eq: wp.array2d(dtype=wp.int32)  # [ntendon_eq, 2] the tendon and the one it follows, -1 for none
    tendon_eq_polynomial: wp.array2d(dtype=real)  # [ntendon_eq, 5]
    tendon_eq_length: wp.array2d(dtype=real)  # [ntendon_eq, 2] lengths at qpos0, m
    tendon_eq_invweight: wp.array(dtype=real)
    tendon_eq_runadr: wp.array(dtype=wp.int32)
    tendon_eq_runs: wp.array(dtype=wp.int32)
    tendon_eq_run: wp.array2d(dtype=wp.int32)
    tendon_eq_branched: wp.array(dtype=wp.int32)
    # lines [nline]: spatial tendons, and moving transmissions; see `line`
    line_kind: wp.array(dtype=wp.int32)
    line_adr: wp.array(dtype=wp.int32)  # first of the line's entries, in descending order of dofs
    line_num: wp.array(dtype=wp.int32)
    line_dof: wp.array(dtype=wp.int32)
    line_runadr: wp.array(dtype=wp.int32)  # first of the runs of the line's dofs
    line_runs: wp.array(dtype=wp.int32)
    line_run: wp.array2d(dtype=wp.int32)
    line_branched: wp.array(dtype=wp.int32)  # 1 if the dofs are in several branches of the tree
    line_tendon: wp.array(dtype=wp.int32)  # its tendon, -1 for none
    line_armature: wp.array(dtype=real)
    line_body: wp.array(dtype=wp.int32)  # the body whose contacts a line of normals has, -1 for all adhesive contacts
    line_gear: wp.array2d(dtype=real)  # [..., 6] of a transmission
    line_stride: wp.int32
    at_line_gear: wp.int32
    line_pieceadr: wp.array(dtype=wp.int32)
    line_pieces: wp.array(dtype=wp.int32)
    # pieces of lines, each with four places: two ends, the geom or the body above both, the side site
    piece_kind: wp.array(dtype=wp.int32)  # of a wrap, 0 for straight pieces
    piece_body: wp.array2d(dtype=wp.int32)  # [npiece, 4]
    piece_point: wp.array2d(dtype=vec3)
    piece_quat: wp.array2d(dtype=quat)
    piece_side: wp.array(dtype=wp.int32)  # 1 if there is a side site
    piece_size: wp.array(dtype=real)  # radius of the geom, or length of the rod, m
    piece_scale: wp.array(dtype=real)  # 1 / divisor of the pulley
    pair_convex: wp.array(dtype=wp.int32)  # [npair] 1 for pairs of the general convex collision
    # meshes, as in MuJoCo's `mesh_...`: addresses count from the model's first
    geom_mesh: wp.array(dtype=wp.int32)  # [ngeom] mesh or height field; -1 for other geoms
    mesh_vertadr: wp.array(dtype=wp.int32)
    mesh_vertnum: wp.array(dtype=wp.int32)
    mesh_graphadr: wp.array(dtype=wp.int32)  # -1 if support points are found by trying all vertices
    mesh_polyadr: wp.array(dtype=wp.int32)
    mesh_polynum: wp.array(dtype=wp.int32)
    mesh_vert: wp.array(dtype=vec3)  # m
    mesh_centre: wp.array(dtype=vec3)  # m, of the vertices' bounding box
    mesh_half: wp.array(dtype=vec3)  # m, half its sides
    mesh_graph: wp.array(dtype=wp.int32)
    mesh_extrema: wp.array2d(dtype=wp.int32)  # [nmesh, 27]
    mesh_polynormal: wp.array(dtype=vec3)
    mesh_polyvertadr: wp.array(dtype=wp.int32)
    mesh_polyvertnum: wp.array(dtype=wp.int32)
    mesh_polyvert: wp.array(dtype=wp.int32)
    mesh_polymapadr: wp.array(dtype=wp.int32)
    mesh_polymapnum: wp.array(dtype=wp.int32)
    mesh_polymap: wp.array(dtype=wp.int32)
    # height fields: see MuJoCo's `hfield_...`
    hfield_nrow: wp.array(dtype=wp.int32)
    hfield_ncol: wp.array(dtype=wp.int32)
    hfield_adr: wp.array(dtype=wp.int32)
    hfield_size: wp.array(dtype=vec4)  # m
    hfield_step: wp.array(dtype=vec2)  # m, between two points of the grid along x and y
    hfield_data: wp.array(dtype=real)  # heights as shares of the third size
    # mocap bodies, gravity compensation, ellipsoids, polynomials of springs and dampers, clamps of joints' actuators
    mocap_body: wp.array(dtype=wp.int32)  # [nmocap]
    body_gravcomp: wp.array(dtype=real)
    body_ellipsoidadr: wp.array(dtype=wp.int32)  # [nbody + 1] address of each body's ellipsoids
    jnt_stiffnesspoly: wp.array(dtype=vec2)
    jnt_actfrclimited: wp.array(dtype=wp.int32)
    jnt_actfrcrange: wp.array2d(dtype=real)
    dof_dampingpoly: wp.array(dtype=vec2)  # those of actuators included
    dof_gravcomp: wp.array(dtype=wp.int32)  # where its gravity compensation goes; named in `gravcomp`
    # connect and weld constraints [neq]
    eq_id: wp.array(dtype=wp.int32)  # index among all equality constraints
    eq_rows: wp.array(dtype=wp.int32)  # 3 for connect, 6 for weld
    eq_body: wp.array2d(dtype=wp.int32)  # [neq, 2]
    eq_anchor: wp.array2d(dtype=vec3)  # [neq, 2] points of the two bodies to be joined, in their frames
    eq_quat: wp.array2d(dtype=quat)  # [neq, 2] frames of the two bodies to be aligned, in their frames
    eq_torquescale: wp.array(dtype=real)
    eq_invweight: wp.array2d(dtype=real)  # [neq, 2] of translation and rotation
    # joint constraints [njoint_eq]
    joint_eq_id: wp.array(dtype=wp.int32)
    joint_eq: wp.array2d(dtype=wp.int32)  # [njoint_eq, 2] the joint and the one it follows, -1 for none
    joint_eq_polynomial: wp.array2d(dtype=real)  # [njoint_eq, 5]
    joint_eq_invweight: wp.array(dtype=real)
    # tendons [ntendon]: a fixed one has the entries [tendon_adr, tendon_adr + tendon_num)
    tendon_adr: wp.array(dtype=wp.int32)
    tendon_num: wp.array(dtype=wp.int32)
    tendon_dof: wp.array(dtype=wp.int32)
    tendon_qpos: wp.array(dtype=wp.int32)
    tendon_coef: wp.array(dtype=real)
    tendon_stiffnesspoly: wp.array(dtype=vec2)
    tendon_dampingpoly: wp.array(dtype=vec2)
    tendon_limited: wp.array(dtype=wp.int32)
    tendon_margin: wp.array(dtype=real)
    tendon_frictionloss: wp.array(dtype=real)
    tendon_invweight: wp.array(dtype=real)
    tendon_line: wp.array(dtype=wp.int32)  # line of a spatial tendon, -1 for a fixed one
    # pairs of dofs that tendons couple, where M has an entry [ntendon_pair]
    tendon_pair_dof: wp.array2d(dtype=wp.int32)  # [ntendon_pair, 2] row and column
    tendon_pair_armature: wp.array(dtype=real)
    # parameters of tendons, which can differ between worlds, their strides, and offsets in `Scratch.parameter_bar`
    tendon_stiffness: wp.array(dtype=real)
    tendon_damping: wp.array(dtype=real)
    tendon_lengthspring: wp.array2d(dtype=real)  # [..., 2] range of lengths where the spring is slack
    tendon_range: wp.array2d(dtype=real)  # [..., 2]
    tendon_pair_damping: wp.array(dtype=real)
    tendon_stride: wp.int32
    tendon_pair_stride: wp.int32
    at_tendon_stiffness: wp.int32
    at_tendon_damping: wp.int32
    at_tendon_lengthspring: wp.int32
    at_tendon_range: wp.int32
    at_tendon_pair_damping: wp.int32
    # activations [na], and actuators with them
    actuator_actearly: wp.array(dtype=wp.int32)
    act_actuator: wp.array(dtype=wp.int32)  # -1 if the actuator is disabled
    act_dyntype: wp.array(dtype=wp.int32)
    act_dynprm: wp.array(dtype=vec3)  # the first three
    act_limited: wp.array(dtype=wp.int32)
    act_range: wp.array2d(dtype=real)
    # clamps of the sums of tendons' actuators
    actuator_tendon: wp.array(dtype=wp.int32)  # tendon with an actuatorfrcrange, -1 for the others
    tendon_actfrcrange: wp.array2d(dtype=real)  # [ntendon, 2]
    # noslip solver; see `diffsim.compile.noslip`
    noslip_tolerance: real  # gain per inertia of an island below which a sweep is its last
    noslip_islands: wp.int32
    ntree: wp.int32
    dof_tree: wp.array(dtype=wp.int32)
    dof_carries: wp.array(dtype=wp.int32)  # 1 if it moves the axes of other dofs
    # PID controllers and DC motors [nservo], see `servo_law`
    servo_kind: wp.array2d(dtype=wp.int32)  # [nservo, 5] the integers of `Servo`
    servo_numbers: wp.array2d(dtype=real)  # [nservo, 25] its numbers after the time step
    servo_rubbing: wp.array(dtype=real)  # damping of friction in implicit integrators
    servo_ctrl: wp.array2d(dtype=wp.int32)  # [nservo, 4] indices of the inputs, -1 for none
    servo_act: wp.array2d(dtype=wp.int32)  # [nservo, 5] indices of the activations, -1 for none
    servo_actuator: wp.array(dtype=wp.int32)
    actuator_servo: wp.array(dtype=wp.int32)  # row of an actuator, -1 for none
    act_servo: wp.array(dtype=wp.int32)  # 1 for an activation of a servo
    control_limited: wp.array(dtype=wp.int32)  # [nu]
    control_range: wp.array2d(dtype=real)  # [nu, 2]
    # muscles
    actuator_gain_row: wp.array(dtype=wp.int32)  # of an actuator in muscle_gain, -1 for none
    actuator_bias_row: wp.array(dtype=wp.int32)


@wp.struct
class ModelArrays:
    """A model for the kernels. A field with MuJoCo's name has MuJoCo's meaning.

    The dofs of a body come in blocks that move together: one dof of a slide or hinge joint, three of a ball joint,
    three translations and then three rotations of a free joint.
    """

    rare: wp.array(dtype=RareArrays)  # one
    nbody: wp.int32
    nv: wp.int32
    nq: wp.int32
    nu: wp.int32
    na: wp.int32
    njnt: wp.int32
    nactuator: wp.int32
    nmocap: wp.int32
    nequality: wp.int32  # equality constraints of all kinds, of which each world has some active
    has_polynomials: wp.int32  # 1 if a spring or damper of a joint or tendon has a polynomial coefficient
    ngravcomp: wp.int32  # bodies with gravity compensation
    ngyro: wp.int32  # standalone free bodies, where the integrator is implicitfast; see `gyroscopic`
    integrator: wp.int32
    implicit: wp.int32  # 1 if `implicit` integrates the velocities
    unsymmetric: wp.int32  # 1 if its matrix is not symmetric
    fluid: wp.int32  # 1 if the medium has density or viscosity
    nellipsoid: wp.int32  # geoms on which the medium acts as on ellipsoids
    has_limits: wp.int32
    has_frictionloss: wp.int32
    ncollider: wp.int32
    npair: wp.int32
    max_contacts: wp.int32
    params_dof: wp.int32  # offsets of the solver parameters of dofs' friction and of pairs; those of joints are first
    params_pair: wp.int32
    elliptic: wp.int32  # 1 if contacts have elliptic friction cones
    surfacevel: wp.int32  # 1 if a geom has a surface velocity
    impratio: real
    has_gap: wp.int32  # 1 if contacts can be detected that exert no force
    contact_terms: wp.int32  # 1 if there are terms of `contact_terms`
    adhesion: wp.int32  # 1 if there are adhesive contacts
    adhesion_line: wp.int32  # line of their pull, -1 for none
    noslip: wp.int32  # largest number of sweeps of the noslip solver, 0 without; see `noslip`
    has_actfrcrange: wp.int32
    has_tendon_frcrange: wp.int32
    nservo: wp.int32  # PID controllers and DC motors
    wind: vec3  # m/s
    # offsets in `Scratch.parameter_bar`
    at_body_mass: wp.int32
    at_body_rotary: wp.int32
    at_fluid_linear: wp.int32
    at_fluid_quadratic: wp.int32
    at_dof_damping: wp.int32
    at_dof_armature: wp.int32
    at_jnt_stiffness: wp.int32
    at_actuator_gain: wp.int32
    at_actuator_bias: wp.int32
    at_pair_friction: wp.int32
    at_gravity: wp.int32
    at_body_pos: wp.int32
    at_body_ipos: wp.int32
    at_body_quat: wp.int32
    at_timestep: wp.int32
    at_moment_value: wp.int32
    at_actuator_gear: wp.int32
    at_actuator_period: wp.int32
    at_dof_frictionloss: wp.int32
    at_jnt_range: wp.int32
    at_geom_pos: wp.int32
    at_geom_size: wp.int32
    at_geom_rbound: wp.int32
    at_solver_reference: wp.int32
    at_solver_impedance: wp.int32
    parameter_gradient: wp.int32  # 1 if the adjoint computes the gradient of parameters
    # parameters, which can differ between worlds: an element's is at world * stride + element, with stride 0 where all
    # worlds have the same; one index instead of two saves small models 5 % of a step
    body_stride: wp.int32
    dof_stride: wp.int32
    joint_stride: wp.int32
    actuator_stride: wp.int32
    pair_stride: wp.int32
    gravity_stride: wp.int32
    geom_stride: wp.int32
    solver_stride: wp.int32
    moment_stride: wp.int32
    timestep_stride: wp.int32
    body_mass: wp.array(dtype=real)  # kg
    body_rotary: wp.array(dtype=mat33)  # inertia about the com in the body's axes, kg m^2
    body_pos: wp.array(dtype=vec3)  # m, in the parent's frame
    body_quat: wp.array(dtype=quat)  # in the parent's frame
    body_ipos: wp.array(dtype=vec3)  # centre of mass, m
    fluid_linear: wp.array(dtype=vec6)  # drag per velocity along the inertia box's axes
    fluid_quadratic: wp.array(dtype=vec6)  # drag per velocity squared
    dof_damping: wp.array(dtype=real)
    dof_armature: wp.array(dtype=real)
    jnt_stiffness: wp.array(dtype=real)
    actuator_gain: wp.array(dtype=vec3)  # force per ctrl: constant, per length, per velocity
    actuator_bias: wp.array(dtype=vec3)  # force: constant, per length, per velocity
    actuator_gear: wp.array(dtype=real)  # for a line
    actuator_period: wp.array(dtype=real)  # setpoint's period of a position servo on a rotation, 0 for the others
    moment_value: wp.array(dtype=real)  # of constant moments
    pair_friction: wp.array2d(dtype=real)  # [..., 5]
    gravity: wp.array(dtype=vec3)  # m/s^2
    timestep: wp.array(dtype=real)  # s
    dof_frictionloss: wp.array(dtype=real)
    jnt_range: wp.array2d(dtype=real)  # [..., 2]
    geom_pos: wp.array(dtype=vec3)  # of geoms that can touch, m
    geom_size: wp.array(dtype=vec3)  # m
    geom_rbound: wp.array(dtype=real)  # m
    solver_reference: wp.array2d(dtype=real)  # [..., 2] k and b of aref = -b J v - k d r
    solver_impedance: wp.array2d(dtype=real)  # [..., 5] solimp
    # bodies but the world by depth: those of level l are tree[level_adr[l] : level_adr[l + 1]]; for one lane, which
    # needs no levels, all are in one
    nlevel: wp.int32
    level_adr: wp.array(dtype=wp.int32)
    tree: wp.array(dtype=wp.vec4i)  # body, parent, and the range of its children in body_child
    # bodies [nbody]
    body_parent: wp.array(dtype=wp.int32)
    body_root: wp.array(dtype=wp.int32)
    body_jntadr: wp.array(dtype=wp.int32)
    body_jntnum: wp.array(dtype=wp.int32)
    body_blockadr: wp.array(dtype=wp.int32)
    body_blocknum: wp.array(dtype=wp.int32)
    body_lastdof: wp.array(dtype=wp.int32)  # last dof that moves the body, -1 for none
    body_childadr: wp.array(dtype=wp.int32)  # [nbody + 1] address in body_child of each body's children
    body_child: wp.array(dtype=wp.int32)  # in descending order
    body_mocap: wp.array(dtype=wp.int32)  # index of a mocap body, -1 for the others
    body_iquat: wp.array(dtype=quat)
    # blocks
    block_dofadr: wp.array(dtype=wp.int32)
    block_dofnum: wp.array(dtype=wp.int32)
    # standalone free bodies [ngyro]
    gyro_body: wp.array(dtype=wp.int32)
    gyro_dof: wp.array(dtype=wp.int32)
    # joints [njnt]
    jnt_type: wp.array(dtype=wp.int32)
    jnt_qposadr: wp.array(dtype=wp.int32)
    jnt_dofadr: wp.array(dtype=wp.int32)
    jnt_pos: wp.array(dtype=vec3)
    jnt_axis: wp.array(dtype=vec3)
    jnt_limited: wp.array(dtype=wp.int32)
    jnt_margin: wp.array(dtype=real)
    # coordinates and dofs
    qpos0: wp.array(dtype=real)
    qpos_spring: wp.array(dtype=real)
    dof_body: wp.array(dtype=wp.int32)
    dof_parent: wp.array(dtype=wp.int32)
    dof_address: wp.array(dtype=wp.int32)  # [nv + 1] address in dof_run of the runs of each dof's ancestors
    dof_run: wp.array2d(dtype=wp.int32)  # [n, 2] see `sparse`
    dof_invweight: wp.array(dtype=real)
    # connect and weld constraints, whose rows come first; arrays of rare features are in `RareArrays`
    neq: wp.int32
    # joint constraints
    njoint_eq: wp.int32
    # offsets of the solver parameters of these, and of tendons' limits and friction
    params_eq: wp.int32
    params_joint_eq: wp.int32
    params_tendon_limit: wp.int32
    params_tendon_friction: wp.int32
    # tendons
    ntendon: wp.int32
    # pairs of dofs that tendons couple
    ntendon_pair: wp.int32
    # equality constraints of tendons; see `RareArrays`
    ntendon_eq: wp.int32
    params_tendon_eq: wp.int32
    # lines: spatial tendons, and moving transmissions; see `RareArrays`
    nline: wp.int32
    dof_simple: wp.array(dtype=wp.int32)  # 1 if M has only a diagonal entry
    # geoms that can touch
    collider_geom: wp.array(dtype=wp.int32)  # [ncollider]
    geom_body: wp.array(dtype=wp.int32)
    geom_kind: wp.array(dtype=wp.int32)
    geom_quat: wp.array(dtype=quat)
    # the general convex collision
    ccd_tolerance: real  # m
    ccd_iterations: wp.int32
    multiccd: wp.int32  # 1 if it looks for several contacts
    # pairs of them [npair]
    pair_geom1: wp.array(dtype=wp.int32)
    pair_geom2: wp.array(dtype=wp.int32)
    pair_candidates: wp.array(dtype=wp.int32)  # number of candidates
    pair_candidateadr: wp.array(dtype=wp.int32)  # index of the first candidate among those of all pairs
    pair_cap: wp.array(dtype=wp.int32)  # maximum number of contacts
    pair_condim: wp.array(dtype=wp.int32)
    pair_margin: wp.array(dtype=real)  # distance below which a contact exerts a force
    pair_detection: wp.array(dtype=real)  # distance up to which a contact is detected
    pair_invweight: wp.array(dtype=real)
    # actuators: force along a constant moment, entries [moment_adr, moment_adr + moment_num)
    actuator_ctrl: wp.array(dtype=wp.int32)
    actuator_ctrllimited: wp.array(dtype=wp.int32)
    actuator_ctrlrange: wp.array2d(dtype=real)
    actuator_forcelimited: wp.array(dtype=wp.int32)
    actuator_forcerange: wp.array2d(dtype=real)
    actuator_quat: wp.array(dtype=wp.int32)  # qpos address of a ball joint's quaternion, -1 for the others
    actuator_actadr: wp.array(dtype=wp.int32)  # activation that is the gain's input, -1 for the control
    actuator_joint: wp.array(dtype=wp.int32)  # slide or hinge joint with an actuatorfrcrange, -1 for the others
    actuator_line: wp.array(dtype=wp.int32)  # line whose moment times the gear is the actuator's, -1 for a constant one
    moment_adr: wp.array(dtype=wp.int32)
    moment_num: wp.array(dtype=wp.int32)
    moment_dof: wp.array(dtype=wp.int32)
    moment_qpos: wp.array(dtype=wp.int32)  # qpos address in the length, -1 for none
    # muscles
    has_muscles: wp.int32
    muscle_gain_stride: wp.int32
    muscle_bias_stride: wp.int32
    muscle_gain: wp.array2d(dtype=real)  # [..., 8] see `muscle.muscle_gain`
    muscle_bias: wp.array2d(dtype=real)  # [..., 6] see `muscle.muscle_bias`
    at_muscle_gain: wp.int32
    at_muscle_bias: wp.int32
