"""Sensors and contacts with parameters equal those of C MuJoCo with changed fields, and so do their gradients."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .engine import simulator, tensors
from .parameter_reference import central_differences, field, has_effect, write
from .quantities import reference
from .reference import moving_states, relative_error
from .test_sensors import ACCELERATION, CONTACTS, POSITION, VELOCITY, contact_list, model, robot, sensordata, standing

BODIES = ("body_mass", "body_inertia", "body_pos", "body_quat", "body_ipos", "gravity")
JOINTS = ("dof_damping", "dof_armature", "jnt_stiffness", "jnt_range", "jnt_solref", "jnt_solimp")
GEOMS = ("geom_friction", "geom_pos", "geom_size", "geom_solref", "geom_solimp")
ACTUATORS = ("actuator_gear", "actuator_gainprm", "actuator_biasprm", "timestep")
TENDONS = ("tendon_stiffness", "tendon_damping", "tendon_lengthspring", "tendon_range")
ALL = (*BODIES, *JOINTS, *GEOMS, *ACTUATORS, *TENDONS, "eq_solref", "eq_solimp")


def changed(mj_model: mujoco.MjModel, names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Changes fields of the model a little, and gives them as parameters."""
    for shortcut in ("body_sameframe", "geom_sameframe", "body_simple", "dof_simplenum"):
        getattr(mj_model, shortcut)[:] = 0  # they hold for the compiled values only
    rng = np.random.default_rng(5)
    for name in names:
        values = field(mj_model, name)
        write(mj_model, name, values * (1 + 0.02 * rng.uniform(size=values.shape)))
    return {n: torch.tensor(field(mj_model, n), dtype=diffsim.dtype).requires_grad_() for n in names}


def check(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, names: tuple[str, ...]) -> set[str]:
    """Compares values of all sensors and their gradients; returns the fields that have an effect."""
    names = tuple(name for name in names if field(mj_model, name).size)
    sim = simulator(mj_model, len(state))
    own = {n: torch.tensor(field(mj_model, n), dtype=diffsim.dtype) for n in names}
    parameters = changed(mj_model, names)
    states, ctrls = tensors(state, ctrl)
    values = sim.sensors(states, ctrls, parameters=parameters)

    def expected() -> np.ndarray:
        mj_model.body_subtreemass[:] = mj_model.body_mass
        for body in range(mj_model.nbody - 1, 0, -1):
            mj_model.body_subtreemass[mj_model.body_parentid[body]] += mj_model.body_subtreemass[body]
        return reference(mj_model, sensordata, state, ctrl)

    truth = expected()
    assert relative_error(values.detach().numpy(), truth) <= 1e-9
    assert relative_error(sim.sensors(states, ctrls, parameters=own).numpy(), truth) > 1e-5
    weight = np.random.default_rng(1).normal(size=truth.shape) / np.maximum(1, np.abs(truth).max(0))
    grads = torch.autograd.grad((values * torch.tensor(weight)).sum(), list(parameters.values()))
    seen = set()
    for name, grad in zip(names, grads, strict=True):
        size = field(mj_model, name)
        effects = [has_effect(name, i, float(size[i]), mj_model.opt.timestep) for i in np.ndindex(*size.shape)]
        effects = np.reshape(effects, size.shape)
        if name == "body_ipos":  # C MuJoCo's mass matrix has no room for moving a centre of mass from the origin
            effects &= size != 0
        differences = central_differences(mj_model, name, lambda: (expected() * weight).sum()) * effects
        error = np.linalg.norm(grad.numpy() * effects - differences)
        norm = np.linalg.norm(differences)
        assert error <= 1e-6 * norm + 1e-7, f"{name}: {error} of {norm}"
        if norm > 1e-6:
            seen.add(name)
    return seen


@pytest.mark.parametrize("sensors", [POSITION, VELOCITY], ids=["position", "velocity"])
def test_sensors_of_positions_and_velocities(sensors):
    mj_model = model(sensors)
    names = tuple(name for name in ALL if not name.startswith(("eq", "geom_f", "geom_s", "dof_d")))
    seen = check(mj_model, *moving_states(mj_model, 2, seed=2), (*names, "geom_size"))
    assert {"body_mass", "body_pos", "body_quat", "body_ipos", "actuator_gear"} <= seen
    if sensors == POSITION:
        assert {"geom_pos", "geom_size", "jnt_range", "tendon_range", "jnt_stiffness", "tendon_lengthspring"} <= seen


@pytest.mark.parametrize("cone", ["pyramidal", "elliptic"])
@pytest.mark.parametrize("sensors", [ACCELERATION, CONTACTS], ids=["acceleration", "contact"])
def test_sensors_of_forces(sensors, cone):
    mj_model = robot(sensors, cone)
    state, ctrl = standing(mj_model, 2)
    for name, value in (("left", 0.1), ("toe", 0.04)):  # at the limits of the toe and of the rope
        state[:, mj_model.joint(name).qposadr[0]] = value
    seen = check(mj_model, state, ctrl, ALL)
    wanted = {"geom_friction", "geom_solref", "geom_size", "body_quat", "actuator_gear"}
    assert wanted | ({"eq_solref", "tendon_range", "jnt_range"} if sensors == ACCELERATION else set()) <= seen


def test_contacts_have_the_worlds_own_parameters():
    mj_model = robot("")
    state, ctrl = standing(mj_model, 1)
    size = torch.tensor(mj_model.geom_size, dtype=diffsim.dtype)
    sizes = torch.stack([size, 1.03 * size])
    found = simulator(mj_model, 2).contacts(
        *tensors(np.tile(state, (2, 1)), np.tile(ctrl, (2, 1))), parameters={"geom_size": sizes}
    )
    for world in range(2):
        mj_model.geom_size[:] = sizes[world].numpy()
        expected = reference(mj_model, contact_list, state, ctrl)[0].reshape(-1, 21)
        count = int(found.count[world])
        assert count == len(expected)
        forces, truth = (np.sort(x, axis=None) for x in (found.force[world, :count].numpy(), expected[:, 15:]))
        assert relative_error(forces[None], truth[None]) <= 1e-9
