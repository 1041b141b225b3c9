"""Degenerate contacts: states and gradients stay finite. test_float32.py runs these tests in float32 kernels too."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim

from .contact_cases import BY_NAME, PAIRS, SPECIAL, Case, random_poses
from .contact_pairs import Poses
from .engine import simulator, tensors

SIZES = {"plane": 3, "sphere": 1, "capsule": 2, "ellipsoid": 3, "cylinder": 2, "box": 3}
GRAVITY = 9.81


def pair_model(case: Case, scale: float = 1.0) -> mujoco.MjModel:
    """Two geoms on bodies of their own, free except for a plane. Sizes are times `scale`, inertias are not."""
    bodies = ""
    for kind, size in ((case.first, case.size1), (case.second, case.size2)):
        numbers = " ".join(str(scale * x if kind != "plane" else x) for x in size[: SIZES[kind]])
        inertial = '<inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>'
        joint = f"<freejoint/>{inertial}" if kind != "plane" else ""
        bodies += f'<body>{joint}<geom type="{kind}" size="{numbers}" condim="4"/></body>'
    return mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")


def state_of(mj_model: mujoco.MjModel, pos: np.ndarray, mat: np.ndarray) -> np.ndarray:
    """State [nq + nv] at rest with the geoms at these positions [2, 3] and rotations [2, 3, 3]; moves a plane there."""
    state = np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv)])
    adr = 0
    for body in (1, 2):
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, mat[body - 1].ravel())
        if mj_model.body_jntnum[body]:
            state[adr : adr + 7] = np.concatenate([pos[body - 1], quat])
            adr += 7
        else:
            mj_model.body_pos[body], mj_model.body_quat[body] = pos[body - 1], quat
    return state


def assert_finite(mj_model: mujoco.MjModel, state: np.ndarray, num_steps: int = 1) -> np.ndarray:
    """Steps states [N, nq + nv], checks next states and all gradients, and returns the next states."""
    sim = simulator(mj_model, len(state))
    fields: list[str] = ["body_mass", "geom_friction", "gravity"]
    own = [mj_model.opt.gravity if name == "gravity" else getattr(mj_model, name) for name in fields]
    parameters = dict(zip(fields, tensors(*own, requires_grad=True), strict=True))
    inputs = tensors(state, np.zeros((len(state), mj_model.nu)), requires_grad=True)
    output = sim.step(*inputs, num_steps=num_steps, parameters=parameters)
    weight = torch.as_tensor(np.random.default_rng(0).standard_normal(output.shape), dtype=diffsim.dtype)
    grads = torch.autograd.grad((weight * output).sum(), [*inputs, *parameters.values()])
    assert bool(torch.isfinite(output).all())
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)
    assert any(bool((grad != 0).any()) for grad in grads)
    return output.detach().double().numpy()


def assert_poses_finite(case: Case, poses: Poses, scale: float, num_steps: int) -> None:
    """Calls `assert_finite` for every pose."""
    for pos, mat in zip(poses.pos, poses.mat, strict=True):
        mj_model = pair_model(case, scale)
        assert_finite(mj_model, state_of(mj_model, pos, mat)[None], num_steps)


@pytest.mark.parametrize("scale", [1.0, 1e-9])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_poses(name: str, scale: float):
    # Parallel capsules, coincident centres, exact touching, features exactly at their edges; geoms of size almost zero.
    case, poses, _ = SPECIAL[name]
    poses = Poses(poses.pos if scale == 1 else poses.pos[:, :1] + scale * (poses.pos - poses.pos[:, :1]), poses.mat)
    assert_poses_finite(case, poses, scale, 1)
    assert_poses_finite(case, poses, scale, 20)


@pytest.mark.parametrize("case", PAIRS, ids=str)
def test_deep_penetration(case: Case):
    poses = random_poses(case, 4)
    assert_poses_finite(case, Poses(0.03 * poses.pos, poses.mat), 1.0, 20)
    assert_poses_finite(case, Poses(0.0 * poses.pos, poses.mat), 1.0, 20)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name.startswith("plane")])
def test_half_a_metre_below_ground(name: str):
    case = BY_NAME[name]
    mj_model = pair_model(case)
    state = state_of(mj_model, np.array([[0, 0, 0], [0, 0, -0.5]]), np.array([np.eye(3)] * 2))
    assert_finite(mj_model, state[None], 50)


REST = {
    "sphere": ("0.1", 0.1),
    "capsule": ("0.1 0.2", 0.3),
    "ellipsoid": ("0.2 0.2 0.1", 0.1),
    "cylinder": ("0.1 0.1", 0.1),
    "box": ("0.1 0.1 0.1", 0.1),
}


def resting_model(bodies: str) -> mujoco.MjModel:
    """Free bodies over a floor."""
    floor = '<geom type="plane" size="0 0 1"/>'
    return mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{floor}{bodies}</worldbody></mujoco>")


@pytest.mark.parametrize("kind", [kind for kind in REST if kind != "capsule"] + ["lying capsule"])
def test_at_rest_for_a_thousand_steps(kind: str):
    lying = kind == "lying capsule"
    size, height = REST["capsule" if lying else kind]
    height = 0.1 if lying else height
    shape = 'type="capsule" zaxis="1 0 0"' if lying else f'type="{kind}"'
    mj_model = resting_model(f'<body pos="0 0 {height}"><freejoint/><geom {shape} size="{size}" mass="1"/></body>')
    state = np.concatenate([mj_model.qpos0, np.zeros(6)])
    (end,) = assert_finite(mj_model, state[None], 1000)
    assert np.abs(end[:3] - state[:3]).max() < 1e-3
    assert np.abs(end[7:]).max() < 1e-3


@pytest.mark.parametrize("masses", [(1e4, 1e-3), (1e-3, 1e4), (1e-4, 1e-4), (1e6, 1e6)])
@pytest.mark.parametrize("kinds", [("sphere", "box"), ("box", "capsule"), ("capsule", "sphere")])
def test_large_and_small_masses_in_contact(kinds, masses):
    bodies, height = "", 0.0
    for kind, mass in zip(kinds, masses, strict=True):
        size, half = REST[kind]
        bodies += (
            f'<body pos="0 0 {height + half}"><freejoint/><geom type="{kind}" size="{size}" mass="{mass}"/></body>'
        )
        height += 2 * half - 1e-3
    mj_model = resting_model(bodies)
    state = np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv)])
    end = assert_finite(mj_model, state[None], 100)
    # In 0.2 s nothing can move faster than by a fall, or by the push of the initial overlap.
    assert np.abs(end[0, mj_model.nq :]).max() < 20 * GRAVITY


def test_contact_overflow_error_names_the_number_needed():
    box = '<body pos="0 0 0.0999"><freejoint/><geom type="box" size="0.1 0.1 0.1"/></body>'
    mj_model = resting_model(box)
    state, ctrl = tensors(np.concatenate([mj_model.qpos0, np.zeros(6)])[None], np.zeros((1, 0)))
    expected = simulator(mj_model, 1).step(state, ctrl)
    for limit in (1, 3):
        sim = diffsim.Simulator(diffsim.Model(mj_model, max_contacts=limit), 1)
        for call in (sim.step, sim.forward):
            with pytest.raises(diffsim.ContactOverflowError, match="4 contacts.*max_contacts=4"):
                call(state, ctrl)
        # Above the floor there is no contact.
        high = state + torch.eye(13, dtype=diffsim.dtype)[2]
        assert bool(torch.isfinite(sim.step(high, ctrl)).all())
    enough = diffsim.Simulator(diffsim.Model(mj_model, max_contacts=4), 1)
    assert torch.equal(enough.step(state, ctrl), expected)
