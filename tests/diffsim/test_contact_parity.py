"""Contacts and all other constraints equal C MuJoCo's, in float64, in Gymnasium's tasks and in a model per feature."""

import mujoco
import numpy as np
import pytest

from .contact_reference import TASKS, load_task, model_states, task_states, visited_states
from .engine import contacts, simulator, step, tensors
from .reference import CONTACT_MODELS, Stepper, load, parts_error, relative_error

every_task = pytest.mark.parametrize("id", TASKS)
every_contact_model = pytest.mark.parametrize("name", CONTACT_MODELS)

NUM_STATES = 200
STATE_TOLERANCE, FORCE_TOLERANCE, CONTACT_TOLERANCE = 1e-8, 1e-6, 1e-9
# C MuJoCo finds contacts of a capsule and a cylinder by iteration, less exactly than our simulator.
ROUGH_FORCE_TOLERANCE, ROUGH_CONTACT_TOLERANCE = 1e-5, 1e-5


def check_steps(mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, num_steps: int) -> None:
    """One and `num_steps` steps from each state equal C MuJoCo's."""
    for steps in sorted({1, num_steps}):
        expected = Stepper(mj_model).step_batch(state, ctrl, steps)
        assert parts_error(mj_model, step(mj_model, state, ctrl, steps), expected) <= STATE_TOLERANCE


def check_forces(
    mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, tolerance: float = FORCE_TOLERANCE
) -> None:
    """Accelerations, and forces on joints and bodies, equal C MuJoCo's at each state."""
    stepper = Stepper(mj_model)
    expected = {name: [] for name in ("qacc", "qfrc_constraint", "qfrc_actuator", "cfrc_ext", "qacc_smooth")}
    for world in zip(state, ctrl, strict=True):
        data = stepper.set(*world)
        mujoco.mj_forward(mj_model, data)
        mujoco.mj_rnePostConstraint(mj_model, data)
        for name, rows in expected.items():
            rows.append(getattr(data, name).copy())
    # Constraints cancel most of qacc_smooth at rest, so errors are relative to that too.
    gravity = np.array(expected.pop("qacc_smooth"))
    evaluation = simulator(mj_model, len(state)).forward(*tensors(state, ctrl))
    for name, rows in expected.items():
        actual, rows = getattr(evaluation, name).numpy(), np.array(rows)
        if name == "qacc":
            actual, rows = np.stack([actual, gravity], axis=1), np.stack([rows, gravity], axis=1)
        assert relative_error(actual, rows) <= tolerance, name


def check_contacts(
    mj_model: mujoco.MjModel, state: np.ndarray, ctrl: np.ndarray, tolerance: float = CONTACT_TOLERANCE
) -> None:
    """Positions and normals of the active contacts equal C MuJoCo's at each state."""
    stepper, sim = Stepper(mj_model), simulator(mj_model, 1)
    for world in zip(state, ctrl, strict=True):
        mujoco.mj_forward(mj_model, stepper.set(*world))
        found = stepper.data.contact
        expected = [
            ((int(found.geom1[i]), int(found.geom2[i])), np.concatenate([found.pos[i], found.frame[i, :3]]))
            for i in np.flatnonzero(found.efc_address >= 0)
        ]
        expected.sort(key=lambda contact: contact[0])
        actual = contacts(sim, *world)
        assert [geoms for geoms, _ in actual] == [geoms for geoms, _ in expected]
        # MuJoCo lists the two contacts of an edge on a face in an order that rounding chooses.
        for geoms, reference in expected:
            apart = [np.abs(place - reference).max() for others, place in actual if others == geoms]
            assert min(apart) <= tolerance


@every_task
def test_tasks_contacts(id):
    tolerance = ROUGH_CONTACT_TOLERANCE if id == "Pusher-v5" else CONTACT_TOLERANCE
    check_contacts(load_task(id)[0], *task_states(id, NUM_STATES), tolerance)


@every_contact_model
def test_models_contacts(name):
    check_contacts(load(name), *model_states(name, 100))


@every_task
def test_tasks_step(id):
    mj_model, frame_skip = load_task(id)
    check_steps(mj_model, *task_states(id, NUM_STATES), frame_skip)


@every_task
def test_tasks_forces(id):
    mj_model, frame_skip = load_task(id)
    tolerance = ROUGH_FORCE_TOLERANCE if id == "Pusher-v5" else FORCE_TOLERANCE
    check_forces(mj_model, *task_states(id, NUM_STATES), tolerance)


@every_contact_model
def test_models_step(name):
    mj_model = load(name)
    check_steps(mj_model, *model_states(name, 100), 3)


@every_contact_model
def test_models_forces(name):
    mj_model = load(name)
    check_forces(mj_model, *model_states(name, 100))


@pytest.mark.parametrize("integrator", ["implicitfast", "RK4"])
@pytest.mark.parametrize("name", ["contact_pair", "contact_weld", "contact_grasp", "contact_friction_loss"])
def test_other_integrators(name, integrator):
    mj_model = load(name, integrator)
    check_steps(mj_model, *visited_states(mj_model, 50, 5), 1)


@every_task
def test_derived_quantities(id):
    mj_model, frame_skip = load_task(id)
    state, ctrl = task_states(id, 50)
    stepper = Stepper(mj_model)
    expected = {name: [] for name in ("xipos", "cinert", "cvel")}
    for world in zip(state, ctrl, strict=True):
        mujoco.mj_forward(mj_model, stepper.set(*world))
        for name, rows in expected.items():
            rows.append(getattr(stepper.data, name).copy())
    sim = simulator(mj_model, len(state))
    qpos, qvel = tensors(*np.split(state, [mj_model.nq], axis=1))
    actual = {
        "xipos": sim.xipos(qpos, range(mj_model.nbody)),
        "cinert": sim.cinert(qpos),
        "cvel": sim.cvel(qpos, qvel),
    }
    for name, rows in expected.items():
        assert relative_error(actual[name].numpy(), np.array(rows)) <= 1e-10, name


@pytest.mark.parametrize("id", ["Ant-v5", "Humanoid-v5", "HumanoidStandup-v5"])
def test_forces_of_the_last_evaluation(id):
    mj_model, frame_skip = load_task(id)
    state, ctrl = task_states(id, 50)
    stepper = Stepper(mj_model)
    qfrc_actuator, cfrc_ext = [], []
    for world in zip(state, ctrl, strict=True):
        stepper.step(*world, frame_skip)
        mujoco.mj_rnePostConstraint(mj_model, stepper.data)
        qfrc_actuator.append(stepper.data.qfrc_actuator.copy())
        cfrc_ext.append(stepper.data.cfrc_ext.copy())
    _, evaluation = simulator(mj_model, len(state)).advance(*tensors(state, ctrl), num_steps=frame_skip)
    assert relative_error(evaluation.qfrc_actuator.numpy(), np.array(qfrc_actuator)) <= 1e-10
    assert relative_error(evaluation.cfrc_ext.numpy(), np.array(cfrc_ext)) <= FORCE_TOLERANCE


@pytest.mark.parametrize("id", ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5"])
def test_trajectories(id):
    # 50 environment steps under random actions, from near the rest state to well into contact.
    mj_model, frame_skip = load_task(id)
    rng = np.random.default_rng(0)
    count = 8
    noise = 0.02 * rng.uniform(-1, 1, (count, mj_model.nq + mj_model.nv))
    expected = np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv)]) + noise
    (actual,) = tensors(expected)
    sim, stepper = simulator(mj_model, count), Stepper(mj_model)
    errors = []
    for _ in range(50):
        ctrl = rng.uniform(*mj_model.actuator_ctrlrange.T, (count, mj_model.nu))
        expected = stepper.step_batch(expected, ctrl, frame_skip)
        actual = sim.step(actual, *tensors(ctrl), num_steps=frame_skip)
        errors.append(np.abs(actual.numpy() - expected).max())
    assert max(errors) <= 1e-6, f"errors at every tenth step: {errors[::10]}"


def test_states_cover_contacts_and_constraints():
    for id in TASKS:
        mj_model, frame_skip = load_task(id)
        if mj_model.opt.disableflags or "Pendulum" in id or id in ("Reacher-v5", "Swimmer-v5"):
            continue
        stepper = Stepper(mj_model)
        found = []
        for world in zip(*task_states(id, NUM_STATES), strict=True):
            mujoco.mj_forward(mj_model, stepper.set(*world))
            found.append(stepper.data.ncon)
        assert np.mean(np.array(found) > 0) > 0.5, id
    # Each pair of kinds of geoms with an exact collider, and each number of contact dimensions.
    pairs, dimensions, kinds = set(), set(), set()
    for name in CONTACT_MODELS:
        mj_model = load(name)
        stepper = Stepper(mj_model)
        for world in zip(*model_states(name, 100), strict=True):
            mujoco.mj_forward(mj_model, stepper.set(*world))
            kinds |= {mujoco.mjtConstraint(k).name for k in stepper.data.efc_type[stepper.data.efc_force != 0]}
            for geoms, dimension in zip(stepper.data.contact.geom, stepper.data.contact.dim, strict=True):
                pairs.add(tuple(mujoco.mjtGeom(mj_model.geom_type[g]).name.removeprefix("mjGEOM_") for g in geoms))
                dimensions.add(int(dimension))
    assert pairs >= {
        *(("PLANE", kind) for kind in ("SPHERE", "CAPSULE", "BOX", "CYLINDER", "ELLIPSOID")),
        *(("SPHERE", kind) for kind in ("SPHERE", "CAPSULE", "BOX", "CYLINDER")),
        *(("CAPSULE", kind) for kind in ("CAPSULE", "BOX")),
    }
    assert dimensions == {1, 3, 4, 6}
    assert kinds >= {
        f"mjCNSTR_{kind}"
        for kind in (
            "EQUALITY",
            "FRICTION_DOF",
            "LIMIT_JOINT",
            "LIMIT_TENDON",
            "CONTACT_FRICTIONLESS",
            "CONTACT_PYRAMIDAL",
        )
    }
