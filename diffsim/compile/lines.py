"""Fields of `ModelArrays` that describe lines: spatial tendons, and transmissions whose moments move.

`diffsim.physics.line` says what a line is.
"""

from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from diffsim.compile.actuator_additions import tendon_dampers
from diffsim.compile.pairs import DISABLE, adhesive_pairs, touching_pairs
from diffsim.physics.line import CRANK, NORMALS, REFSITE, SITE, SPATIAL
from diffsim.types import BALL, FREE, IMPLICIT, IMPLICITFAST

WRAP = mujoco.mjtWrap
TRN = mujoco.mjtTrn
KINDS = {TRN.mjTRN_SITE: int(SITE), TRN.mjTRN_SLIDERCRANK: int(CRANK), TRN.mjTRN_BODY: int(NORMALS)}
IDENTITY = np.array([1.0, 0, 0, 0])


def spatial_tendons(m: mujoco.MjModel) -> list[int]:
    """Ids of the spatial tendons."""
    return [i for i in range(m.ntendon) if m.wrap_type[m.tendon_adr[i]] != int(WRAP.mjWRAP_JOINT)]


def moving_actuators(m: mujoco.MjModel, active: Iterable[int]) -> list[int]:
    """Ids of the enabled actuators with a line of their own."""
    return [i for i in active if TRN(m.actuator_trntype[i]) in KINDS or turns_ball_in_parent(m, i)]


def turns_ball_in_parent(m: mujoco.MjModel, actuator: int) -> bool:
    """Whether an actuator turns a ball joint, the only joint of its body, about an axis of the parent's frame."""
    joint = int(m.actuator_trnid[actuator, 0])
    if TRN(m.actuator_trntype[actuator]) != TRN.mjTRN_JOINTINPARENT or m.jnt_type[joint] != BALL:
        return False
    return m.body_jntnum[m.jnt_bodyid[joint]] == 1


def body_actuators(m: mujoco.MjModel, active: Iterable[int]) -> list[int]:
    """Ids of the enabled actuators that act on the contacts of a body."""
    return [i for i in active if TRN(m.actuator_trntype[i]) == TRN.mjTRN_BODY]


def actuator_of_lines(m: mujoco.MjModel, active: Iterable[int]) -> list[int]:
    """Ids of the actuators whose own the lines are, -1 for the others, in the order of `line_fields`."""
    return [-1] * len(spatial_tendons(m)) + moving_actuators(m, active) + [-1] * len(_adhesion_lines(m))


def fixed_by_lines(m: mujoco.MjModel, active: list[int]) -> dict[str, str]:
    """Parameters that the model's lines do not follow or differentiate, and why."""
    fixed = {}
    on_bodies = body_actuators(m, active)
    lines = len(spatial_tendons(m)) + len(set(moving_actuators(m, active)) - set(on_bodies))
    if lines and m.opt.integrator in (IMPLICIT, IMPLICITFAST):
        reason = "implicit integrators and spatial tendons, or actuators on sites or slider-cranks"
        fixed["body_pos"] = fixed["body_quat"] = reason
    elif tendon_dampers(m)[2][spatial_tendons(m)].any():
        fixed["body_pos"] = fixed["body_quat"] = "armature of spatial tendons"
    if any(turns_ball_in_parent(m, i) for i in active):
        fixed.setdefault("body_quat", "actuators in the parent frames of ball joints")
    if np.isin(m.wrap_type, (int(WRAP.mjWRAP_SPHERE), int(WRAP.mjWRAP_CYLINDER))).any():
        fixed["geom_pos"] = fixed["geom_size"] = "spatial tendons around geoms"
    return fixed


def line_fields(m: mujoco.MjModel, active: list[int]) -> dict[str, Any]:
    """All lines: those of spatial tendons, of actuators, and that of the pull of adhesive contacts."""
    tendons, actuators = spatial_tendons(m), moving_actuators(m, active)
    lines = [_tendon_line(m, i) for i in tendons] + [_actuator_line(m, i) for i in actuators] + _adhesion_lines(m)
    dofs = [descending(line["dofs"]) for line in lines]
    pieces = [piece for line in lines for piece in line["pieces"]]
    runs = [runs_of(d) for d in dofs]
    of_tendon, of_actuator = np.full(m.ntendon, -1), np.full(len(active), -1)
    of_tendon[tendons] = np.arange(len(tendons))
    for n, i in enumerate(active):
        target = int(m.actuator_trnid[i, 0])
        if TRN(m.actuator_trntype[i]) == TRN.mjTRN_TENDON and of_tendon[target] >= 0:
            of_actuator[n] = of_tendon[target]
        elif i in actuators:
            of_actuator[n] = len(tendons) + actuators.index(i)
    others = len(lines) - len(tendons)
    armature = np.concatenate([tendon_dampers(m)[2][tendons], np.zeros(others)])
    adhesive = len(lines) > len(tendons) + len(actuators)
    return dict(
        nline=len(lines),
        line_kind=np.array([line["kind"] for line in lines], int),
        line_adr=addresses(dofs),
        line_num=np.array([len(d) for d in dofs], int),
        line_dof=np.array([dof for d in dofs for dof in d], int),
        line_runadr=addresses(runs),
        line_runs=np.array([len(r) for r in runs], int),
        line_run=np.array([run for r in runs for run in r], int).reshape(-1, 2),
        line_branched=np.array([is_branched(m, d) for d in dofs], int),
        line_tendon=np.array(tendons + [-1] * others, int),
        line_armature=armature,
        line_body=np.array([line.get("body", -1) for line in lines], int),
        adhesion_line=len(lines) - 1 if adhesive else -1,
        line_pieceadr=addresses([line["pieces"] for line in lines]),
        line_pieces=np.array([len(line["pieces"]) for line in lines], int),
        **_piece_fields(pieces),
        tendon_line=of_tendon,
        actuator_line=of_actuator,
        dof_simple=simple_dofs(m).astype(int),
    )


def tendon_dofs(m: mujoco.MjModel, tendon: int) -> set[int]:
    """Dofs that can change a tendon's length."""
    if tendon in spatial_tendons(m):
        return _tendon_line(m, tendon)["dofs"]
    wraps = range(m.tendon_adr[tendon], m.tendon_adr[tendon] + m.tendon_num[tendon])
    return {int(m.jnt_dofadr[m.wrap_objid[wrap]]) for wrap in wraps}


def descending(dofs: Iterable[int]) -> list[int]:
    """Dofs in descending order."""
    return sorted(dofs, reverse=True)


def simple_dofs(m: mujoco.MjModel) -> np.ndarray:
    """Which dofs implicitfast couples with no other, since M has only their diagonal entries: [nv].

    Not those of a free body, whose six dofs it solves apart, nor any with armature of tendons.
    """
    implicitfast = m.opt.integrator == IMPLICITFAST
    return (m.dof_simplenum > 0) & (m.jnt_type[m.dof_jntid] != FREE) & implicitfast


def _piece_fields(pieces: list[dict[str, Any]]) -> dict[str, Any]:
    """Arrays of the pieces of all lines."""
    return dict(
        piece_kind=np.array([p["kind"] for p in pieces], int),
        piece_body=np.array([[place[0] for place in p["places"]] for p in pieces], int).reshape(-1, 4),
        piece_point=np.array([[place[1] for place in p["places"]] for p in pieces], float).reshape(-1, 4, 3),
        piece_quat=np.array([[place[2] for place in p["places"]] for p in pieces], float).reshape(-1, 4, 4),
        piece_side=np.array([p["side"] for p in pieces], int),
        piece_size=np.array([p["size"] for p in pieces], float),
        piece_scale=np.array([p["scale"] for p in pieces], float),
    )


def _piece(
    places: list[tuple[int, np.ndarray, np.ndarray]], kind: int = 0, size: float = 0.0, scale: float = 1.0
) -> dict[str, Any]:
    """A piece with up to four places: its two ends, the geom or a common body, the side site."""
    nowhere = (0, np.zeros(3), IDENTITY)
    return dict(
        kind=kind,
        places=places + [nowhere] * (4 - len(places)),
        side=int(len(places) == 4),
        size=size,
        scale=scale,
    )


def _site(m: mujoco.MjModel, site: int) -> tuple[int, np.ndarray, np.ndarray]:
    """A site's body, and its position and orientation there."""
    return int(m.site_bodyid[site]), m.site_pos[site], m.site_quat[site]


def _tendon_line(m: mujoco.MjModel, tendon: int) -> dict[str, Any]:
    """The pieces between the sites of a spatial tendon."""
    adr, stop = int(m.tendon_adr[tendon]), int(m.tendon_adr[tendon] + m.tendon_num[tendon])
    pieces, dofs, scale = [], set(), 1.0
    last, geom = -1, -1  # index of the last site, and of the geom after it
    for wrap in range(adr, stop):
        kind, target = WRAP(m.wrap_type[wrap]), int(m.wrap_objid[wrap])
        if kind == WRAP.mjWRAP_PULLEY:
            scale, last, geom = 1 / float(m.wrap_prm[wrap]), -1, -1
        elif kind == WRAP.mjWRAP_SITE:
            if last >= 0:
                pieces.append(_tendon_piece(m, last, geom, target, scale))
            last, geom = target, -1
        else:
            geom = wrap
    for piece in pieces:
        bodies = [place[0] for place in piece["places"]]
        dofs |= moving_dofs(m, bodies[0], bodies[1])
        if piece["kind"]:
            dofs |= moving_dofs(m, bodies[0], bodies[2]) | moving_dofs(m, bodies[1], bodies[2])
    return dict(kind=int(SPATIAL), pieces=pieces, dofs=dofs)


def _tendon_piece(m: mujoco.MjModel, first: int, wrap: int, second: int, scale: float) -> dict[str, Any]:
    """The piece between two sites, around a geom if `wrap` is not -1."""
    ends = [_site(m, first), _site(m, second)]
    if wrap < 0:
        return _piece(ends, scale=scale)
    geom, side = int(m.wrap_objid[wrap]), round(float(m.wrap_prm[wrap]))
    places = [*ends, (int(m.geom_bodyid[geom]), m.geom_pos[geom], m.geom_quat[geom])]
    if side >= 0:
        places.append(_site(m, side))
    return _piece(places, int(m.wrap_type[wrap]), float(m.geom_size[geom, 0]), scale)


def _actuator_line(m: mujoco.MjModel, actuator: int) -> dict[str, Any]:
    """The one piece of a transmission by site or slider-crank; a transmission by body has none.

    A ball joint turns its body relative to the parent, as a site would relative to another.
    """
    if turns_ball_in_parent(m, actuator):
        body = int(m.jnt_bodyid[m.actuator_trnid[actuator, 0]])
        parent = int(m.body_parentid[body])
        frames = (body, IDENTITY), (parent, m.body_quat[body]), (parent, IDENTITY)
        places = [(owner, np.zeros(3), axes) for owner, axes in frames]
        return dict(kind=int(REFSITE), pieces=[_piece(places)], dofs=moving_dofs(m, body, parent))
    kind = KINDS[TRN(m.actuator_trntype[actuator])]
    first, second = (int(site) for site in m.actuator_trnid[actuator])
    if kind == NORMALS:
        return _normals_line(m, _touching(m, first), first)
    body = int(m.site_bodyid[first])
    if kind == SITE and second < 0:
        return dict(kind=kind, pieces=[_piece([_site(m, first)])], dofs=moving_dofs(m, body, 0))
    other = int(m.site_bodyid[second])
    dofs = moving_dofs(m, body, other)
    common = sorted(moving_dofs(m, body, 0) - dofs)
    shared = (int(m.dof_bodyid[common[-1]]) if common else 0, np.zeros(3), IDENTITY)
    places = [_site(m, first), _site(m, second), shared]
    if kind == SITE:
        return dict(kind=int(REFSITE), pieces=[_piece(places)], dofs=dofs)
    rod = float(m.actuator_cranklength[actuator])
    return dict(kind=kind, pieces=[_piece(places, size=rod)], dofs=dofs)


def _touching(m: mujoco.MjModel, body: int) -> np.ndarray:
    """Pairs of geoms that can touch, one of them the body's: [n, 2]."""
    if m.opt.disableflags & (DISABLE.mjDSBL_CONTACT | DISABLE.mjDSBL_CONSTRAINT):
        return np.zeros((0, 2), int)
    pairs = touching_pairs(m)
    return pairs[(m.geom_bodyid[pairs] == body).any(axis=1)]


def _adhesion_lines(m: mujoco.MjModel) -> list[dict[str, Any]]:
    """The line of the pull of adhesive contacts, if there are any. MuJoCo omits it without springs and dampers."""
    pairs, off = adhesive_pairs(m), m.opt.disableflags
    passive = not off & DISABLE.mjDSBL_SPRING or not off & DISABLE.mjDSBL_DAMPER
    return [_normals_line(m, pairs, -1)] if len(pairs) and passive else []


def _normals_line(m: mujoco.MjModel, pairs: np.ndarray, body: int) -> dict[str, Any]:
    """A line of contact normals of pairs of geoms [n, 2]."""
    dofs = set()
    for first, second in {(int(a), int(b)) for a, b in m.geom_bodyid[pairs]}:
        dofs |= moving_dofs(m, first, second)
    return dict(kind=int(NORMALS), pieces=[], dofs=dofs, body=body)


def moving_dofs(m: mujoco.MjModel, first: int, second: int) -> set[int]:
    """Dofs that move one body and not the other."""
    return _chain(m, first) ^ _chain(m, second)


def _chain(m: mujoco.MjModel, body: int) -> set[int]:
    """Dofs that move a body."""
    dofs = set()
    while body > 0:
        first = int(m.body_dofadr[body])
        dofs |= set(range(first, first + int(m.body_dofnum[body])))
        body = int(m.body_parentid[body])
    return dofs


def is_branched(m: mujoco.MjModel, dofs: list[int]) -> bool:
    """Whether dofs, in descending order, are in several branches of the tree."""
    return any(not is_ancestor(m, low, high) for high, low in zip(dofs, dofs[1:], strict=False))


def is_ancestor(m: mujoco.MjModel, ancestor: int, dof: int) -> bool:
    """Whether `ancestor` is `dof`, or one of its ancestors in the tree."""
    while dof > ancestor:
        dof = int(m.dof_parentid[dof])
    return dof == ancestor


def runs_of(dofs: list[int]) -> list[tuple[int, int]]:
    """Ranges of consecutive dofs, in descending order."""
    runs: list[tuple[int, int]] = []
    for dof in dofs:
        if runs and runs[-1][0] == dof + 1:
            runs[-1] = (dof, runs[-1][1])
        else:
            runs.append((dof, dof + 1))
    return runs


def addresses(parts: list) -> np.ndarray:
    """Index of the first element of each part."""
    return np.cumsum([0, *(len(part) for part in parts)])[:-1].astype(int)
