"""Functions of positions at given poses of mocap bodies and with given parameters, beside C MuJoCo."""

import mujoco
import numpy as np
import pytest
import torch

import diffsim
from diffsim.engine.kinematics import Kinematics

from .engine import simulator, tensors
from .reference import relative_error

CRANE = """
<mujoco>
  <worldbody>
    <body name="hand" mocap="true" pos="0 0 1" euler="10 20 30">
      <geom size=".05"/><site name="grip" pos=".1 .02 0" euler="20 30 0"/>
      <body name="hook" pos=".1 0 -.2" euler="0 30 10"><joint name="swing" axis="0 1 .2" pos="0 0 .1"/>
        <geom name="rod" type="capsule" size=".03" fromto="0 0 0 .1 0 -.4"/><site name="tip" pos=".1 0 -.4"/>
        <body name="load" pos=".1 0 -.4"><joint name="ball" type="ball" pos=".01 0 .02"/>
          <geom type="box" size=".1 .07 .05" pos=".02 .01 0"/><camera name="eye" pos="0 .05 0" euler="5 6 7"/></body>
      </body>
    </body>
    <body name="cart"><joint type="slide" axis="1 .2 0"/><geom size=".1"/></body>
  </worldbody>
  <keyframe><key name="held" mpos="0.3 0.2 0.9" mquat="0.8 0.1 -0.2 0.3" qpos="0.2 .9 .1 .2 .3 .4"/></keyframe>
</mujoco>
"""
WORLDS = 3


def quantities(mj_model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """What C MuJoCo has."""
    mujoco.mj_forward(mj_model, data)
    mujoco.mj_subtreeVel(mj_model, data)
    velocity, jacobian = np.zeros(6), np.zeros((2, 3, mj_model.nv))
    mujoco.mj_objectVelocity(mj_model, data, mujoco.mjtObj.mjOBJ_SITE, data.site("tip").id, velocity, 1)
    mujoco.mj_jacSite(mj_model, data, *jacobian, data.site("tip").id)
    parts = (
        data.xpos[1:],
        data.xipos[1:],
        data.site("grip").xpos,
        data.site("tip").xmat,
        data.geom("rod").xmat,
        data.cam("eye").xpos,
        velocity,
        jacobian,
        data.subtree_com[[0, 2]],
        data.subtree_angmom[2],
    )
    return np.concatenate([part.ravel() for part in parts])


def ours(kinematics: Kinematics, qpos: torch.Tensor, qvel: torch.Tensor) -> torch.Tensor:
    """The same, of our functions."""
    bodies = [1, 2, 3, 4]
    parts = (
        kinematics.xpos(qpos, bodies),
        kinematics.xipos(qpos, bodies),
        kinematics.site_xpos(qpos, ["grip"]),
        kinematics.site_xmat(qpos, ["tip"]),
        kinematics.geom_xmat(qpos, ["rod"]),
        kinematics.cam_xpos(qpos, ["eye"]),
        kinematics.velocity(qpos, qvel, "site", ["tip"], local=True),
        torch.stack(kinematics.jac_site(qpos, "tip"), dim=1),
        kinematics.subtree_com(qpos, [0, 2]),
        kinematics.subtree_angmom(qpos, qvel, [2]),
    )
    return torch.cat([part.flatten(1) for part in parts], dim=1)


@pytest.fixture(scope="module")
def case():
    mj_model = mujoco.MjModel.from_xml_string(CRANE)
    for shortcut in ("body_sameframe", "geom_sameframe", "body_simple", "dof_simplenum"):
        getattr(mj_model, shortcut)[:] = 0  # they hold for the compiled body_ipos only
    rng = np.random.default_rng(0)
    inputs = {"qpos": rng.normal(size=(WORLDS, mj_model.nq)), "qvel": rng.normal(size=(WORLDS, mj_model.nv))}
    inputs |= {"mocap_pos": rng.normal(size=(WORLDS, 1, 3)), "mocap_quat": rng.normal(size=(WORLDS, 1, 4))}
    fields = {name: getattr(mj_model, name).copy() for name in ("body_pos", "body_quat", "body_ipos", "body_mass")}
    inputs |= {name: value + 0.05 * rng.uniform(size=(WORLDS, *value.shape)) for name, value in fields.items()}
    for name, value in fields.items():
        inputs[name][:, 0] = value[0]  # the world's own
    inputs["body_quat"] /= np.linalg.norm(inputs["body_quat"], axis=-1, keepdims=True)
    return mj_model, inputs


def reference(mj_model: mujoco.MjModel, inputs: dict[str, np.ndarray]) -> np.ndarray:
    data, rows = mujoco.MjData(mj_model), []
    for world in range(WORLDS):
        for name, value in inputs.items():
            if name.startswith("body"):
                getattr(mj_model, name)[:] = value[world]
        mj_model.body_quat[:] /= np.linalg.norm(mj_model.body_quat, axis=1, keepdims=True)
        mj_model.body_subtreemass[:] = mj_model.body_mass
        for body in (3, 2, 1, 4):
            mj_model.body_subtreemass[mj_model.body_parentid[body]] += mj_model.body_subtreemass[body]
        mujoco.mj_resetData(mj_model, data)
        for name in ("qpos", "qvel", "mocap_pos", "mocap_quat"):
            getattr(data, name)[:] = inputs[name][world]
        rows.append(quantities(mj_model, data))
    return np.array(rows)


def test_values_and_gradients(case):
    mj_model, inputs = case
    sim = simulator(mj_model, WORLDS)
    given = dict(zip(inputs, tensors(*inputs.values(), requires_grad=True), strict=True))
    parameters = {name: value for name, value in given.items() if name.startswith("body")}
    at = sim.kinematics(mocap_pos=given["mocap_pos"], mocap_quat=given["mocap_quat"], parameters=parameters)
    values = ours(at, given["qpos"], given["qvel"])
    assert relative_error(values.detach().numpy(), reference(mj_model, inputs)) <= 1e-11
    weight = np.random.default_rng(1).normal(size=values.shape)
    grads = torch.autograd.grad((values * torch.tensor(weight)).sum(), list(given.values()))
    for (name, array), grad in zip(inputs.items(), grads, strict=True):
        expected = np.zeros_like(array)
        for index in np.ndindex(*array.shape[1:]):
            if name.startswith("body") and index[0] < 2:  # the world; a mocap body has its own pose
                continue
            ends = []
            for shift in (1e-6, -1e-6):
                moved = {n: value.copy() for n, value in inputs.items()}
                moved[name][(slice(None), *index)] += shift
                ends.append((reference(mj_model, moved) * weight).sum(1))
            expected[(slice(None), *index)] = (ends[0] - ends[1]) / 2e-6
        actual = grad.numpy().copy()
        if name.startswith("body"):
            actual[:, :2] = 0
        assert np.linalg.norm(actual - expected) <= 1e-7 * np.linalg.norm(expected), name
        assert np.linalg.norm(expected) > 1e-3


def test_quantities_without_gradient(case):
    mj_model, inputs = case
    sim, data = simulator(mj_model, WORLDS), mujoco.MjData(mj_model)
    qpos, qvel, pos, quat = tensors(*(inputs[name] for name in ("qpos", "qvel", "mocap_pos", "mocap_quat")))
    reference(mj_model, inputs)  # leaves the fields of the last world
    fields = ("body_pos", "body_quat", "body_ipos", "body_mass")
    parameters = {name: torch.tensor(getattr(mj_model, name), dtype=diffsim.dtype) for name in fields}
    at = sim.kinematics(mocap_pos=pos, mocap_quat=quat, parameters=parameters)
    cinert, cvel = at.cinert(qpos), at.cvel(qpos, qvel)
    for world in range(WORLDS):
        for name in ("qpos", "qvel", "mocap_pos", "mocap_quat"):
            getattr(data, name)[:] = inputs[name][world]
        mujoco.mj_forward(mj_model, data)
        np.testing.assert_allclose(cinert[world, 1:], data.cinert[1:], atol=1e-11)
        np.testing.assert_allclose(cvel[world, 1:], data.cvel[1:], atol=1e-11)


def test_a_keyframe_has_poses_of_mocap_bodies(case):
    mj_model = mujoco.MjModel.from_xml_string(CRANE)
    data = mujoco.MjData(mj_model)
    mujoco.mj_resetDataKeyframe(mj_model, data, 0)
    mujoco.mj_forward(mj_model, data)
    sim = simulator(mj_model, 2)
    state, ctrl = sim.keyframe("held")
    mocap = sim.keyframe_mocap("held")
    pos, quat = mocap["mocap_pos"], mocap["mocap_quat"]
    at = sim.kinematics(mocap_pos=pos, mocap_quat=quat)
    np.testing.assert_allclose(at.xpos(state[:, : mj_model.nq], ["load"])[1, 0], data.body("load").xpos, atol=1e-12)
    mujoco.mj_step(mj_model, data)
    end = sim.step(state, ctrl, mocap_pos=pos, mocap_quat=quat)[1].numpy()
    np.testing.assert_allclose(end, np.concatenate([data.qpos, data.qvel]), atol=1e-11)
    with pytest.raises(ValueError, match="mocap_pos must have shape"):
        sim.kinematics(mocap_pos=pos[:, 0])
