"""Finds the features of a MuJoCo model that the simulator does not support, by MJCF name and element name."""

from collections.abc import Iterator

import mujoco
import numpy as np

from diffsim.compile.actuator_additions import tendon_dampers
from diffsim.compile.lines import turns_ball_in_parent
from diffsim.compile.pairs import (
    CONVEX_PAIRS,
    COUNTS,
    DISABLE,
    friction_damping,
    ordered_pairs,
    overrides,
    pair_parameters,
    touching_pairs,
)
from diffsim.compile.servos import is_servo, servo_slots

OBJ = mujoco.mjtObj
ENABLE = mujoco.mjtEnableBit

# A pair with a collider of its own for which C MuJoCo has its general convex collision, and the flags that change it.
CONVEX_PAIR = (int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_CYLINDER))
CONVEX_FLAGS = int(DISABLE.mjDSBL_MULTICCD) | int(DISABLE.mjDSBL_NATIVECCD)

IMPLICIT = (mujoco.mjtIntegrator.mjINT_IMPLICIT, mujoco.mjtIntegrator.mjINT_IMPLICITFAST)
INTEGRATORS = (mujoco.mjtIntegrator.mjINT_EULER, mujoco.mjtIntegrator.mjINT_RK4, *IMPLICIT)
# Flags that are refused, and why.
FLAGS = {
    ENABLE.mjENBL_SLEEP: "whose timers are no part of the state [qpos, qvel, act]",
    ENABLE.mjENBL_DIAGEXACT: "whose gradient by the inertia that each constraint row meets is missing",
    ENABLE.mjENBL_IPC: "which is for contacts of flexes",
    ENABLE.mjENBL_SPECULATIVE: "which sweeps geoms over a step to find contacts",
}


class UnsupportedModelError(ValueError):
    """The model has unsupported features; `features` lists all of them."""

    def __init__(self, features: list[str]) -> None:
        self.features = features
        super().__init__(
            f"model uses {len(features)} unsupported feature(s):\n" + "\n".join(f"  - {f}" for f in features)
        )


def unsupported_features(m: mujoco.MjModel) -> list[str]:
    """One line per unsupported feature of the model; empty if it can be simulated and differentiated exactly."""
    checks = (options, contacts, equalities, joints, tendons, actuators, others)
    return [feature for check in checks for feature in check(m)]


def name_of(m: mujoco.MjModel, kind: mujoco.mjtObj, index: int) -> str:
    """The element's quoted name, or its index if it has no name."""
    name = mujoco.mj_id2name(m, kind, int(index))
    return f"'{name}'" if name else f"#{index}"


def _where(mask: np.ndarray) -> list[int]:
    """Indices of the elements for which a [n] or [n, k] array is true."""
    return [int(i) for i in np.flatnonzero(mask.reshape(len(mask), -1).any(axis=1))] if mask.size else []


def options(m: mujoco.MjModel) -> Iterator[str]:
    """The integrator and flags of <option>."""
    integrator = mujoco.mjtIntegrator(m.opt.integrator)
    if integrator not in INTEGRATORS:
        yield f"option integrator={integrator.name.removeprefix('mjINT_').lower()}"
    for bit, reason in FLAGS.items():
        if m.opt.enableflags & bit:
            yield f"option flag {bit.name.removeprefix('mjENBL_').lower()}=enable, {reason}"


def contacts(m: mujoco.MjModel) -> Iterator[str]:
    """Pairs of geoms that can touch but have no collider, and special contact models."""
    if m.opt.disableflags & (DISABLE.mjDSBL_CONTACT | DISABLE.mjDSBL_CONSTRAINT):
        return
    pairs = ordered_pairs(m, touching_pairs(m))
    kinds = m.geom_type[pairs]
    without_collider = COUNTS[kinds[:, 0], kinds[:, 1], 0] == 0
    convex = (kinds == CONVEX_PAIR).all(axis=1) & bool(m.opt.disableflags & CONVEX_FLAGS)
    for pair in np.flatnonzero(without_collider | convex):
        first, second = pairs[pair]
        if without_collider[pair]:
            words = [mujoco.mjtGeom(m.geom_type[g]).name.removeprefix("mjGEOM_").lower() for g in (first, second)]
            names = [name_of(m, OBJ.mjOBJ_GEOM, g) for g in (first, second)]
            yield f"contact between {words[0]} geom {names[0]} and {words[1]} geom {names[1]}"
        if convex[pair]:
            yield (
                f"option flag multiccd or nativeccd=disable, contact between capsule geom "
                f"{name_of(m, OBJ.mjOBJ_GEOM, first)} and cylinder geom {name_of(m, OBJ.mjOBJ_GEOM, second)}"
            )
    if m.opt.disableflags & DISABLE.mjDSBL_NATIVECCD and CONVEX_PAIRS[kinds[:, 0], kinds[:, 1]].any():
        yield "option flag nativeccd=disable, contact between convex geoms"
    for pair in pairs[friction_damping(m, pairs) >= 0]:
        if m.geom_surfacevel[pair].any():
            names = [name_of(m, OBJ.mjOBJ_GEOM, geom) for geom in pair]
            yield f"pair solreffriction with option cone=elliptic and surfacevel, geoms {names[0]} and {names[1]}"
    # MuJoCo's search for pairs then leaves out some of the contacts in the gap.
    if overrides(m) and (pair_parameters(m, pairs)["gap"] > 0).any():
        yield "option flag override=enable with gap"


def equalities(m: mujoco.MjModel) -> Iterator[str]:
    """Equality constraints that are active at the start. Inactive ones are allowed: they cannot be activated."""
    if m.opt.disableflags & (DISABLE.mjDSBL_EQUALITY | DISABLE.mjDSBL_CONSTRAINT):
        return
    for i in range(m.neq):
        if m.eq_active0[i]:
            yield from equality(m, i)


def equality(m: mujoco.MjModel, eq: int) -> Iterator[str]:
    """An equality constraint of flexes, or where a joint follows a ball joint."""
    supported = (mujoco.mjtEq.mjEQ_CONNECT, mujoco.mjtEq.mjEQ_WELD, mujoco.mjtEq.mjEQ_JOINT, mujoco.mjtEq.mjEQ_TENDON)
    kind = mujoco.mjtEq(m.eq_type[eq])
    if kind not in supported:
        yield f"equality {kind.name.removeprefix('mjEQ_').lower()} {name_of(m, OBJ.mjOBJ_EQUALITY, eq)}"
    if kind in supported[:2]:
        yield from drifting_balls(m, eq, kind)


def drifting_balls(m: mujoco.MjModel, eq: int, kind: mujoco.mjtEq) -> Iterator[str]:
    """Connect and weld constraints where a joint follows a ball joint: see `balls_before_joints`."""
    ends = [int(m.eq_obj1id[eq]), int(m.eq_obj2id[eq])]
    bodies = [int(m.site_bodyid[end]) for end in ends] if m.eq_objtype[eq] == int(OBJ.mjOBJ_SITE) else ends
    for place in balls_before_joints(m, bodies):
        yield f"equality {kind.name.removeprefix('mjEQ_').lower()} {name_of(m, OBJ.mjOBJ_EQUALITY, eq)} on {place}"


def balls_before_joints(m: mujoco.MjModel, bodies: list[int]) -> Iterator[str]:
    """The bodies above some bodies, these included, that have a joint after a ball joint.

    There MuJoCo leaves the product of the two joints' velocities out of dJ/dt v, so that the bodies' accelerations do
    not give it.
    """
    chains = set()
    for body in bodies:
        while body > 0:
            chains.add(body)
            body = int(m.body_parentid[body])
    for body in sorted(chains):
        types = m.jnt_type[m.body_jntadr[body] : m.body_jntadr[body] + m.body_jntnum[body]]
        if (types[:-1] == int(mujoco.mjtJoint.mjJNT_BALL)).any():
            name, reason = name_of(m, OBJ.mjOBJ_BODY, body), "MuJoCo's dJ/dt v lacks the product of their velocities"
            yield f"body {name} where a joint follows a ball joint: {reason}"


def joints(m: mujoco.MjModel) -> Iterator[str]:
    """Plasticity."""
    for i in _where(m.jnt_plasticadr >= 0):
        name = name_of(m, OBJ.mjOBJ_JOINT, i)
        yield f"joint spring yield, whose rest position is no part of the state [qpos, qvel, act], joint {name}"


def tendons(m: mujoco.MjModel) -> Iterator[str]:
    """Plasticity, and armature where dJ/dt v is not exact."""
    armature = tendon_dampers(m)[2]
    for i in range(m.ntendon):
        name = name_of(m, OBJ.mjOBJ_TENDON, i)
        if armature[i]:
            wraps = range(m.tendon_adr[i], m.tendon_adr[i] + m.tendon_num[i])
            sites = [int(m.wrap_objid[w]) for w in wraps if m.wrap_type[w] == int(mujoco.mjtWrap.mjWRAP_SITE)]
            for place in balls_before_joints(m, [int(m.site_bodyid[site]) for site in sites]):
                yield f"tendon armature, tendon {name} on {place}"
        if m.tendon_plasticadr[i] >= 0:
            yield f"tendon spring yield, whose rest length is no part of the state [qpos, qvel, act], tendon {name}"


def actuators(m: mujoco.MjModel) -> Iterator[str]:
    """Transmissions by child frames of balls and the like, types of dynamics, gain and bias, and special attributes."""
    trn, jnt = mujoco.mjtTrn, mujoco.mjtJoint
    supported = (trn.mjTRN_JOINT, trn.mjTRN_TENDON, trn.mjTRN_SITE, trn.mjTRN_SLIDERCRANK, trn.mjTRN_BODY)
    for i in range(m.nactuator):
        name = f"actuator {name_of(m, OBJ.mjOBJ_ACTUATOR, i)}"
        transmission = trn(m.actuator_trntype[i])
        in_parent = transmission == trn.mjTRN_JOINTINPARENT
        one_dof = in_parent and jnt(m.jnt_type[m.actuator_trnid[i, 0]]) in (jnt.mjJNT_SLIDE, jnt.mjJNT_HINGE)
        if in_parent and not one_dof and not turns_ball_in_parent(m, i):
            yield f"actuator transmission jointinparent of a free joint, or of one of several joints of a body, {name}"
        elif transmission not in supported and not in_parent:
            yield f"actuator transmission {transmission.name.removeprefix('mjTRN_').lower()}, {name}"
        yield from actuator_types(m, i, name)
        constant = not m.actuator_gaintype[i] and not m.actuator_biastype[i]  # fixed, none
        if transmission == trn.mjTRN_BODY and m.opt.integrator in IMPLICIT and not constant:
            integrator = mujoco.mjtIntegrator(m.opt.integrator).name.removeprefix("mjINT_").lower()
            yield f"actuator transmission body with gain or bias of velocity and integrator={integrator}, {name}"
        for attribute, present in (
            ("with several controls", m.actuator_ctrlnum[i] != 1 and not is_servo(m, i)),
            ("delay, whose buffer is no part of the state", m.actuator_delay[i] != 0 or m.actuator_history[i].any()),
            ("plugin", m.actuator_plugin[i] >= 0),
        ):
            if present:
                yield f"actuator {attribute}, {name}"


def actuator_types(m: mujoco.MjModel, i: int, name: str) -> Iterator[str]:
    """Dynamics, gain and bias of one actuator."""
    dyn, gain, bias = mujoco.mjtDyn, mujoco.mjtGain, mujoco.mjtBias
    kinds = {
        "dyntype": (
            dyn(m.actuator_dyntype[i]),
            (dyn.mjDYN_NONE, dyn.mjDYN_INTEGRATOR, dyn.mjDYN_FILTER, dyn.mjDYN_FILTEREXACT, dyn.mjDYN_MUSCLE)
            + (dyn.mjDYN_PID, dyn.mjDYN_DCMOTOR),
        ),
        "gaintype": (
            gain(m.actuator_gaintype[i]),
            (gain.mjGAIN_FIXED, gain.mjGAIN_AFFINE, gain.mjGAIN_MUSCLE, gain.mjGAIN_PID, gain.mjGAIN_DCMOTOR),
        ),
        "biastype": (
            bias(m.actuator_biastype[i]),
            (bias.mjBIAS_NONE, bias.mjBIAS_AFFINE, bias.mjBIAS_MUSCLE, bias.mjBIAS_DCMOTOR),
        ),
    }
    for attribute, (kind, supported) in kinds.items():
        if kind not in supported:
            yield f"actuator {attribute}={kind.name.split('_')[-1].lower()}, {name}"
    if is_servo(m, i):
        yield from servo_types(m, i, name)
    elif m.actuator_actnum[i] != int(kinds["dyntype"][0] != dyn.mjDYN_NONE):
        yield f"actuator with {m.actuator_actnum[i]} activations, {name}"


def servo_types(m: mujoco.MjModel, i: int, name: str) -> Iterator[str]:
    """Combinations of types that PID controllers and DC motors do not have, and bristles that move while disabled."""
    dyn, gain, bias = mujoco.mjtDyn, mujoco.mjtGain, mujoco.mjtBias
    types = (dyn(m.actuator_dyntype[i]), gain(m.actuator_gaintype[i]), bias(m.actuator_biastype[i]))
    motor = types == (dyn.mjDYN_DCMOTOR, gain.mjGAIN_DCMOTOR, bias.mjBIAS_DCMOTOR)
    controller = types[0] in (dyn.mjDYN_NONE, dyn.mjDYN_PID) and types[1:] == (gain.mjGAIN_PID, bias.mjBIAS_AFFINE)
    slots = [slot for slot in servo_slots(m, i) if slot >= 0]
    if not (motor or controller) or len(slots) != m.actuator_actnum[i]:
        names = [kind.name.split("_")[-1].lower() for kind in types]
        yield f"actuator dyntype={names[0]} with gaintype={names[1]} and biastype={names[2]}, {name}"
    elif m.actuator_trntype[i] == int(mujoco.mjtTrn.mjTRN_BODY):
        yield f"actuator transmission body with gaintype={types[1].name.split('_')[-1].lower()}, {name}"
    elif motor and servo_slots(m, i)[3] >= 0 and m.opt.disableactuator >> int(m.actuator_group[i]) & 1:
        yield f"dcmotor lugre in a disabled group, {name}"


def others(m: mujoco.MjModel) -> Iterator[str]:
    """Flexes and plugins."""
    for flex in range(m.nflex):
        yield f"flex {name_of(m, OBJ.mjOBJ_FLEX, flex)}"
    for i in range(m.nplugin):
        yield f"plugin {name_of(m, OBJ.mjOBJ_PLUGIN, i)}"
