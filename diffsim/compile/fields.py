"""Fields of `ModelArrays` from a `mujoco.MjModel`, as numpy arrays and numbers."""

from typing import Any

import mujoco
import numpy as np

from diffsim.compile.activations import activations, muscle_fields
from diffsim.compile.actuator_additions import actuator_additions, tendon_dampers
from diffsim.compile.constraints import constraint_fields
from diffsim.compile.ellipsoids import ellipsoid_fields
from diffsim.compile.gears import moment_entries
from diffsim.compile.height_fields import height_field_fields
from diffsim.compile.lines import body_actuators, line_fields, moving_actuators, turns_ball_in_parent
from diffsim.compile.meshes import mesh_fields
from diffsim.compile.servos import PID, is_servo, servo_fields
from diffsim.compile.sparsity import sparsity_fields
from diffsim.physics.gravcomp import ACTUATOR, NOWHERE, PASSIVE
from diffsim.types import BALL, EULER, FREE, HINGE, IMPLICIT, IMPLICITFAST, SLIDE, numpy_dtype, vec3


def host_arrays(mj_model: mujoco.MjModel, max_contacts: int | None) -> dict[str, Any]:
    """All fields of `ModelArrays` but the parameters; also `max_rows`."""
    m = mj_model
    disabled = m.opt.disableflags
    bit = mujoco.mjtDisableBit
    spring, damper = (not disabled & flag for flag in (bit.mjDSBL_SPRING, bit.mjDSBL_DAMPER))
    passive = spring or damper  # MuJoCo omits fluid forces only if both are disabled
    fluid = bool(passive and (m.opt.density > 0 or m.opt.viscosity > 0))
    integrator = int(m.opt.integrator)
    extra, damping_polynomial, _ = actuator_additions(m)
    damping_polynomial = (m.dof_dampingpoly + damping_polynomial) * bool(damper)
    damped = damper and (np.any(m.dof_damping > 0) or np.any(extra) or np.any(damping_polynomial))
    stiffness_polynomial = m.jnt_stiffnesspoly * bool(spring)
    tendons = m.tendon_stiffnesspoly.any() or tendon_dampers(m)[1].any()
    fields: dict[str, Any] = dict(
        nbody=m.nbody,
        nv=m.nv,
        nq=m.nq,
        nu=m.nu,
        na=m.na,
        nmocap=m.nmocap,
        nequality=m.neq,
        njnt=m.njnt,
        integrator=integrator,
        implicit=int(integrator in (IMPLICIT, IMPLICITFAST) or bool(damped and damps_implicitly(m))),
        has_polynomials=int(damping_polynomial.any() or stiffness_polynomial.any() or tendons),
        fluid=int(fluid),
        **ellipsoid_fields(m, fluid, gyroscopic_bodies(m)["gyro_body"]),
        has_actfrcrange=int(bool(np.any(m.jnt_actfrclimited))),
        wind=vec3(*m.opt.wind),
        body_parent=m.body_parentid,
        body_lastdof=last_dofs(m),
        body_root=m.body_rootid,
        body_jntadr=m.body_jntadr,
        body_jntnum=m.body_jntnum,
        body_mocap=m.body_mocapid,
        mocap_body=mocap_bodies(m),
        body_iquat=m.body_iquat,
        jnt_type=m.jnt_type,
        jnt_qposadr=m.jnt_qposadr,
        jnt_dofadr=m.jnt_dofadr,
        jnt_pos=m.jnt_pos,
        jnt_axis=m.jnt_axis,
        jnt_stiffnesspoly=stiffness_polynomial,
        jnt_actfrclimited=m.jnt_actfrclimited,
        jnt_actfrcrange=m.jnt_actfrcrange,
        qpos0=m.qpos0,
        qpos_spring=m.qpos_spring,
        dof_body=m.dof_bodyid,
        dof_parent=m.dof_parentid,
        dof_dampingpoly=damping_polynomial,
    )
    fields.update(
        dof_blocks(m),
        **tree_levels(m),
        **sparsity_fields(m),
        **mesh_fields(m),
        **height_field_fields(m),
        **gyroscopic_bodies(m),
        **actuators(m),
        **activations(m, active_actuators(m)),
        **muscle_fields(m, active_actuators(m)),
        **gravity_compensation(m),
        **line_fields(m, active_actuators(m)),
        **constraint_fields(m, max_contacts),
    )
    fields.update(**contact_terms(m, fields))
    return {name: _packed(value) for name, value in fields.items()}


def contact_terms(m: mujoco.MjModel, fields: dict[str, Any]) -> dict[str, int]:
    """Which contacts there are that few models have. Body transmissions count those at distance 0 without a gap too."""
    on_bodies = bool(body_actuators(m, active_actuators(m)))
    adhesion = bool(fields["pair_adhesion"].any())
    return dict(
        has_gap=int(on_bodies or (fields["pair_detection"] > fields["pair_margin"]).any()),
        adhesion=int(adhesion),
        contact_terms=int(on_bodies or adhesion or (fields["pair_friction_damping"] >= 0).any()),
    )


def _packed(value: Any) -> Any:  # noqa: ANN401
    """Converts an array to kernel precision; makes it nonempty, because a kernel argument needs an address."""
    if not isinstance(value, np.ndarray):
        return value
    if value.size == 0:
        value = np.zeros((1, *value.shape[1:]), value.dtype)
    return np.ascontiguousarray(value, numpy_dtype if value.dtype.kind == "f" else np.int32)


def damps_implicitly(m: mujoco.MjModel) -> bool:
    """Whether the integrator is Euler with implicit joint damping."""
    eulerdamp = not m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_EULERDAMP
    return bool(m.opt.integrator == EULER and eulerdamp)


def dof_blocks(m: mujoco.MjModel) -> dict[str, np.ndarray]:
    """Splits each body's dofs into blocks that move together (see `ModelArrays`)."""
    sizes = {int(FREE): (3, 3), int(BALL): (3,), int(SLIDE): (1,), int(HINGE): (1,)}
    address, count, dofadr, dofnum = [], [], [], []
    for body in range(m.nbody):
        address.append(len(dofadr))
        for joint in range(m.body_jntadr[body], m.body_jntadr[body] + m.body_jntnum[body]):
            dof = int(m.jnt_dofadr[joint])
            for size in sizes[int(m.jnt_type[joint])]:
                dofadr.append(dof)
                dofnum.append(size)
                dof += size
        count.append(len(dofadr) - address[-1])
    return dict(
        body_blockadr=np.array(address),
        body_blocknum=np.array(count),
        block_dofadr=np.array(dofadr, int),
        block_dofnum=np.array(dofnum, int),
    )


def tree_levels(m: mujoco.MjModel) -> dict[str, Any]:
    """Bodies by their depth in the tree, and the children of each body (see `ModelArrays`)."""
    depth = np.zeros(m.nbody, int)
    for body in range(1, m.nbody):
        depth[body] = depth[m.body_parentid[body]] + 1
    order = np.argsort(depth, kind="stable")[1:]
    above = np.zeros(m.nbody + 1, int)
    np.add.at(above, m.body_parentid[1:] + 1, 1)
    children = np.arange(m.nbody - 1, 0, -1)
    address = np.cumsum(above)
    return dict(
        nlevel=int(depth.max()),
        level_adr=np.searchsorted(depth[order], np.arange(1, depth.max() + 2)),
        tree=np.stack([order, m.body_parentid[order], address[order], address[order + 1]], axis=1),
        body_childadr=address,
        body_child=children[np.argsort(m.body_parentid[children], kind="stable")],
    )


def one_level(tree: np.ndarray) -> dict[str, Any]:
    """`tree_levels` for one lane: all bodies in one level, each after its parent."""
    fields = dict(nlevel=1, level_adr=np.array([0, len(tree)]), tree=tree[np.argsort(tree[:, 0])])
    return {name: _packed(value) for name, value in fields.items()}


def last_dofs(m: mujoco.MjModel) -> np.ndarray:
    """Last dof on the path from the world to each body, -1 for none: [nbody]."""
    last = np.full(m.nbody, -1)
    for body in range(1, m.nbody):
        own = m.body_dofadr[body] + m.body_dofnum[body] - 1
        last[body] = own if m.body_dofnum[body] else last[m.body_parentid[body]]
    return last


def mocap_bodies(m: mujoco.MjModel) -> np.ndarray:
    """Ids of the mocap bodies, in the order of `data.mocap_pos`: [nmocap]."""
    bodies = np.flatnonzero(m.body_mocapid >= 0)
    return bodies[np.argsort(m.body_mocapid[bodies])]


def gyroscopic_bodies(m: mujoco.MjModel) -> dict[str, Any]:
    """Free bodies without jointed descendants, if the integrator is implicitfast; else none."""
    jointed, above_joint = m.body_jntnum > 0, np.zeros(m.nbody, bool)
    for body in range(m.nbody - 1, 0, -1):
        above_joint[m.body_parentid[body]] |= jointed[body] | above_joint[body]
    implicit = m.opt.integrator == IMPLICITFAST
    bodies = [int(b) for b in m.jnt_bodyid[m.jnt_type == FREE] if implicit and not above_joint[b]]
    return dict(ngyro=len(bodies), gyro_body=np.array(bodies, int), gyro_dof=m.body_dofadr[bodies])


def gravity_compensation(m: mujoco.MjModel) -> dict[str, Any]:
    """Bodies with gravity compensation, and where that of each dof goes."""
    bit, off = mujoco.mjtDisableBit, m.opt.disableflags
    enabled = not off & bit.mjDSBL_SPRING or not off & bit.mjDSBL_DAMPER
    gravcomp = m.body_gravcomp * (enabled and not off & bit.mjDSBL_GRAVITY)
    actuated = m.nactuator and not off & bit.mjDSBL_ACTUATION
    place = np.where(m.jnt_actgravcomp, ACTUATOR if actuated else NOWHERE, PASSIVE)
    return dict(ngravcomp=int(np.count_nonzero(gravcomp[1:])), body_gravcomp=gravcomp, dof_gravcomp=place[m.dof_jntid])


def active_actuators(m: mujoco.MjModel) -> list[int]:
    """Indices of the enabled actuators."""
    if m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_ACTUATION:
        return []
    return [i for i in range(m.nactuator) if not m.opt.disableactuator >> int(m.actuator_group[i]) & 1]


def on_tendon(m: mujoco.MjModel, actuator: int) -> bool:
    """Whether an actuator acts on a tendon."""
    return mujoco.mjtTrn(m.actuator_trntype[actuator]) == mujoco.mjtTrn.mjTRN_TENDON


def turns_a_site(m: mujoco.MjModel, actuator: int) -> bool:
    """Whether an actuator's length is a site's rotation relative to another site."""
    on_site = mujoco.mjtTrn(m.actuator_trntype[actuator]) == mujoco.mjtTrn.mjTRN_SITE
    return bool(on_site and m.actuator_trnid[actuator, 1] >= 0 and not m.actuator_gear[actuator, :3].any())


def actuators(m: mujoco.MjModel) -> dict[str, Any]:
    """Enabled actuators: ranges, and constant moments as sparse rows, whose values are in `gears`."""
    active = active_actuators(m)
    clamp = not m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
    fixed_gain = m.actuator_gaintype[active] == int(mujoco.mjtGain.mjGAIN_FIXED)
    affine_bias = m.actuator_biastype[active] == int(mujoco.mjtBias.mjBIAS_AFFINE)
    gain = m.actuator_gainprm[active, 0]
    holds = np.isin(m.actuator_dyntype[active], [mujoco.mjtDyn.mjDYN_NONE, mujoco.mjtDyn.mjDYN_INTEGRATOR])
    tracked = fixed_gain & affine_bias & holds & (gain != 0) & (gain == -m.actuator_biasprm[active, 1])
    tracked |= m.actuator_gaintype[active] == int(PID)
    servo = np.array([is_servo(m, i) for i in active], bool)
    control = np.where(m.actuator_ctrlnum[active] > 0, m.actuator_ctrladr[active], 0)
    tendons = [int(m.actuator_trnid[i, 0]) if on_tendon(m, i) else -1 for i in active]
    tendons = np.array([tendon if tendon >= 0 and m.tendon_actfrclimited[tendon] else -1 for tendon in tendons], int)
    quats, joints, periods = np.full(len(active), -1), np.full(len(active), -1), np.zeros(len(active))
    moving = moving_actuators(m, active)
    for n, i in enumerate(active):
        gear, target = m.actuator_gear[i], int(m.actuator_trnid[i, 0])
        if i in moving:
            if turns_a_site(m, i) or turns_ball_in_parent(m, i):
                axis = gear[:3] if turns_ball_in_parent(m, i) else gear[3:]
                periods[n] = tracked[n] * 2 * np.pi * np.linalg.norm(axis)
        elif not on_tendon(m, i):
            if m.jnt_type[target] == BALL:
                quats[n] = m.jnt_qposadr[target]
                periods[n] = tracked[n] * 2 * np.pi * np.linalg.norm(gear[:3])
            elif m.jnt_type[target] != FREE and m.jnt_actfrclimited[target]:
                joints[n] = target
    entries = moment_entries(m, active)
    num = np.bincount(np.array([entry.place for entry in entries], int), minlength=len(active))
    return dict(
        nactuator=len(active),
        actuator_ctrl=control,
        actuator_ctrllimited=np.where(servo, 1, m.actuator_ctrllimited[control] * bool(clamp)) if m.nu else servo,
        actuator_ctrlrange=m.actuator_ctrlrange[control] if m.nu else np.zeros((len(active), 2)),
        actuator_forcelimited=m.actuator_forcelimited[active].astype(int),
        actuator_forcerange=m.actuator_forcerange[active],
        actuator_quat=quats,
        actuator_period=periods * ~servo,
        actuator_joint=joints,
        has_tendon_frcrange=int((tendons >= 0).any()),
        actuator_tendon=tendons,
        tendon_actfrcrange=m.tendon_actfrcrange,
        **servo_fields(m, active, periods * servo),
        moment_adr=np.cumsum(num) - num,
        moment_num=num,
        moment_dof=np.array([entry.dof for entry in entries], int),
        moment_qpos=np.array([entry.qpos for entry in entries], int),
    )
