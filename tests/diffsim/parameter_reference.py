"""Differences of C MuJoCo by the fields of a model that can be parameters."""

from collections.abc import Callable

import mujoco
import numpy as np

FIELDS = (
    "body_mass",
    "body_inertia",
    "geom_friction",
    "dof_damping",
    "dof_armature",
    "jnt_stiffness",
    "actuator_gainprm",
    "actuator_biasprm",
    "gravity",
    "body_pos",
    "body_ipos",
    "dof_frictionloss",
    "jnt_range",
    "jnt_solref",
    "jnt_solimp",
    "dof_solref",
    "dof_solimp",
    "geom_pos",
    "geom_size",
    "geom_solref",
    "geom_solimp",
    "eq_solref",
    "eq_solimp",
    "actuator_gear",
    "body_quat",
    "tendon_stiffness",
    "tendon_damping",
    "tendon_lengthspring",
    "tendon_range",
    "timestep",
)
POSITIONS = ("body_pos", "body_ipos", "body_quat")


def field(mj_model: mujoco.MjModel, name: str) -> np.ndarray:
    """A parameter's array in the model, writable but for the time step."""
    return np.array(mj_model.opt.timestep) if name == "timestep" else getattr(owner(mj_model, name), name)


def owner(mj_model: mujoco.MjModel, name: str) -> mujoco.MjModel | mujoco.MjOption:
    """What has the field."""
    return mj_model.opt if name in ("gravity", "timestep") else mj_model


def write(mj_model: mujoco.MjModel, name: str, values: np.ndarray) -> None:
    """Sets a parameter in the model, and quaternions to unit length."""
    if name == "body_quat":
        values = values / np.linalg.norm(values, axis=1, keepdims=True)
    setattr(owner(mj_model, name), name, values)


def has_effect(name: str, index: tuple[int, ...], value: float, timestep: float) -> bool:
    """Whether differences of a field make sense, as they do not where the world has no position or at a bound."""
    if name in POSITIONS:
        return index[0] > 0
    if name == "dof_frictionloss":
        return value > 0
    if name.endswith("solimp"):
        return index[1] < 4 or value > 1
    if name.endswith("solref") and index[1] == 0:
        return value != 2 * timestep
    return not name.startswith("body") or value != 0


def central_differences(mj_model: mujoco.MjModel, name: str, scalar: Callable[[], float]) -> np.ndarray:
    """Central differences of a scalar of C MuJoCo's next state; zero for entries without an effect."""
    array = field(mj_model, name).copy()
    result = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        value = float(array[index])
        unused = name in ("actuator_gainprm", "actuator_biasprm") and index[1] > (8 if mj_model.na else 2)
        if unused or not has_effect(name, index, value, mj_model.opt.timestep):
            continue
        # Masses and inertias span orders of magnitude; friction, the larger of two equal values, has a kink here.
        fine = ("friction", "armature", "pos", "quat", "range", "size", "solimp", "timestep")
        small = {n: 1e-7 if n.endswith(fine) else 1e-6 for n in FIELDS if n.endswith((*fine, "damping", "solref"))}
        inertial = name in ("body_mass", "body_inertia")
        step = 1e-6 * max(value, 1e-2) if inertial else small.get(name, 1e-5)
        ends = []
        for sign in (1, -1):
            array[index] = value + sign * step
            write(mj_model, name, array)
            ends.append(scalar())
        array[index] = value
        write(mj_model, name, array)
        result[index] = (ends[0] - ends[1]) / (2 * step)
    return result
