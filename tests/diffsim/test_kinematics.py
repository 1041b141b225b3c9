"""Frames, velocities, accelerations, Jacobians, momenta and energies equal C MuJoCo's; so do their derivatives."""

import mujoco
import numpy as np
import pytest
import torch

from .engine import simulator, tensors
from .quantities import gradient_error, reference
from .reference import converge, moving_states, relative_error

XML = """
<mujoco>
  <option integrator="Euler"/>
  <worldbody>
    <geom name="floor" type="plane" size="5 5 .1" pos="0 0 -3"/>
    <site name="fixed" pos=".3 .2 .1" euler="10 20 30"/>
    <body name="drone" pos="0 0 1">
      <freejoint/>
      <geom name="hull" type="box" size=".1 .2 .05" pos=".02 .01 .03" euler="20 10 0"/>
      <site name="front" pos=".1 0 .02" euler="0 30 40"/>
      <body name="arm" pos=".1 0 0" euler="0 40 0">
        <joint name="ball" type="ball" pos="0 .01 0" stiffness="2" springref="0"/>
        <geom name="bone" type="capsule" size=".03" fromto="0 0 0 .1 0 .3"/>
        <body name="hand" pos=".1 0 .3">
          <joint name="slide" type="slide" axis="1 0 1" stiffness="3" springref=".1"/>
          <joint name="hinge" axis="0 1 0.3" pos=".02 0 0" stiffness="1"/>
          <geom type="sphere" size=".06" pos=".05 0 0" mass=".4"/>
          <camera name="eye" pos=".02 0 .1" euler="30 0 60"/>
          <body name="tool" pos="0 .1 0" euler="0 0 30"><geom type="sphere" size=".02" mass=".05" pos="0 .03 0"/>
            <site name="tip" pos="0 .1 .02" euler="0 0 50"/></body>
        </body>
      </body>
    </body>
    <body name="cart" pos="2 0 0"><joint name="rail" type="slide" axis="1 0 0" armature=".2"/><geom size=".1"/>
      <body name="pole"><joint name="pivot" axis="0 1 0"/><geom type="capsule" size=".05" fromto="0 0 0 0 0 1"/>
        <site name="end" pos="0 0 1"/></body></body>
  </worldbody>
  <actuator><motor joint="hinge" gear="2"/><motor joint="rail"/></actuator>
</mujoco>
"""
KINDS = {
    "body": ["world", "hand", "tool", "pole"],
    "xbody": ["drone", "tool"],
    "geom": ["hull", "bone", "floor"],
    "site": ["front", "tip", "end", "fixed"],
    "camera": ["eye"],
}
CODES = {
    "body": mujoco.mjtObj.mjOBJ_BODY,
    "xbody": mujoco.mjtObj.mjOBJ_XBODY,
    "geom": mujoco.mjtObj.mjOBJ_GEOM,
    "site": mujoco.mjtObj.mjOBJ_SITE,
    "camera": mujoco.mjtObj.mjOBJ_CAMERA,
}
BODIES = ["world", "drone", "hand", "cart"]


@pytest.fixture(scope="module")
def mj_model():
    mj_model = mujoco.MjModel.from_xml_string(XML)
    converge(mj_model)
    return mj_model


def velocities(mj_model, data, acceleration=False):
    mujoco.mj_rnePostConstraint(mj_model, data)
    parts = []
    for kind, names in KINDS.items():
        for name in names:
            index = mujoco.mj_name2id(mj_model, CODES[kind], name)
            for local in (0, 1):
                result = np.zeros(6)
                function = mujoco.mj_objectAcceleration if acceleration else mujoco.mj_objectVelocity
                function(mj_model, data, CODES[kind], index, result, local)
                parts.append(result)
    return np.array(parts)


def poses(mj_model, data):
    return np.concatenate(
        [
            data.xquat[[1, 3]].ravel(),
            data.xmat[[1, 3]].ravel(),
            data.ximat[[2, 3]].ravel(),
            data.geom_xpos.ravel(),
            data.geom_xmat.ravel(),
            data.site_xmat.ravel(),
            data.cam_xpos.ravel(),
            data.cam_xmat.ravel(),
        ]
    )


def jacobians(mj_model, data):
    nv, parts = mj_model.nv, []
    for function, index in (
        (mujoco.mj_jacBody, 4),
        (mujoco.mj_jacBodyCom, 3),
        (mujoco.mj_jacGeom, 2),
        (mujoco.mj_jacSite, 2),
        (mujoco.mj_jacSite, 3),
    ):
        jacp, jacr = np.zeros((3, nv)), np.zeros((3, nv))
        function(mj_model, data, jacp, jacr, index)
        parts += [jacp.ravel(), jacr.ravel()]
    return np.concatenate(parts)


def momenta(mj_model, data):
    mujoco.mj_subtreeVel(mj_model, data)
    ids = [mujoco.mj_name2id(mj_model, mujoco.mjtObj.mjOBJ_BODY, name) for name in BODIES]
    return np.concatenate([data.subtree_com[ids], data.subtree_linvel[ids], data.subtree_angmom[ids]])


def all_of(sim, function):
    """One function for all kinds of objects, in both axes."""
    parts = []
    for kind, names in KINDS.items():
        for name in names:
            parts += [function(kind, [name], local=local)[:, 0] for local in (False, True)]
    return torch.stack(parts, dim=1)


def ours(sim, nq, name):
    """Our function of state and control for each quantity."""

    def function(state, ctrl):
        qpos, qvel = state[:, :nq], state[:, nq:]
        if name == "velocities":
            return all_of(sim, lambda *args, local: sim.velocity(qpos, qvel, *args, local=local))
        if name == "accelerations":
            qacc = sim.forward(state, ctrl).qacc
            return all_of(sim, lambda *args, local: sim.acceleration(qpos, qvel, qacc, *args, local=local))
        if name == "momenta":
            parts = [
                sim.subtree_com(qpos, BODIES),
                sim.subtree_linvel(qpos, qvel, BODIES),
                sim.subtree_angmom(qpos, qvel, BODIES),
            ]
        elif name == "jacobians":
            pairs = sim.jac_body(qpos, 4), sim.jac_body_com(qpos, 3), sim.jac_geom(qpos, 2)
            pairs += sim.jac_site(qpos, 2), sim.jac_site(qpos, 3)
            parts = [jacobian for pair in pairs for jacobian in pair]
        else:
            parts = [
                sim.xquat(qpos, [1, 3]),
                sim.xmat(qpos, [1, 3]),
                sim.ximat(qpos, [2, 3]),
                sim.geom_xpos(qpos, range(sim.model.mj_model.ngeom)),
                sim.geom_xmat(qpos, range(sim.model.mj_model.ngeom)),
                sim.site_xmat(qpos, range(4)),
                sim.cam_xpos(qpos, ["eye"]),
                sim.cam_xmat(qpos, ["eye"]),
            ]
        return torch.cat([part.flatten(1) for part in parts], dim=1)

    return function


QUANTITIES = {
    "poses": poses,
    "velocities": velocities,
    "accelerations": lambda *args: velocities(*args, acceleration=True),
    "jacobians": jacobians,
    "momenta": momenta,
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_values_and_derivatives(mj_model, name):
    state, ctrl = moving_states(mj_model, 3)
    sim = simulator(mj_model, len(state))
    function = ours(sim, mj_model.nq, name)
    expected = reference(mj_model, QUANTITIES[name], state, ctrl)
    assert relative_error(function(*tensors(state, ctrl)).flatten(1).numpy(), expected) <= 1e-11
    assert gradient_error(mj_model, QUANTITIES[name], function, state, ctrl) <= 1e-7


def test_jacobians_give_velocities(mj_model):
    state, _ = moving_states(mj_model, 4)
    sim = simulator(mj_model, len(state))
    qpos, qvel = tensors(*np.split(state, [mj_model.nq], axis=1))
    jacp, jacr = sim.jac_site(qpos, "tip")
    both = torch.cat([(jacr @ qvel[..., None])[..., 0], (jacp @ qvel[..., None])[..., 0]], dim=1)
    assert torch.allclose(both, sim.velocity(qpos, qvel, "site", ["tip"])[:, 0], atol=1e-12)


def test_frames_that_nearly_are_those_of_the_inertia():
    # MuJoCo takes the body's frame, or that of its inertia, for one that is within 1e-6 of it.
    mj_model = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><geom type="plane" size="1 1 1"/><body pos="0 0 -.1"><freejoint/>
        <inertial pos=".1 .2000004 .0299996" quat="0.8 0.6000003 0 0" mass="1" diaginertia="1 2 3"/>
        <geom type="capsule" size=".1 .1" pos=".1 .2 .03" quat="0.8 0.6 0 0"/><site name="near" pos=".1 .2 .03"/>
        <site name="start" pos="0 4e-7 0" euler="0 2e-5 0"/></body></worldbody></mujoco>"""
    )
    assert list(mj_model.geom_sameframe[1:]) == [2] and list(mj_model.site_sameframe) == [3, 1]
    sim, data = simulator(mj_model, 1), mujoco.MjData(mj_model)
    data.qpos[3:7] = [0.9, 0.1, 0.2, 0.3]
    mujoco.mj_forward(mj_model, data)
    state, ctrl = tensors(np.concatenate([data.qpos, data.qvel])[None], np.zeros((1, 0)))
    sites = sim.site_xpos(state[:, :7], ["near", "start"])
    np.testing.assert_allclose(sites[0].numpy(), data.site_xpos, rtol=0, atol=1e-12)
    found, expected = sim.contacts(state, ctrl), data.contact
    assert found.count[0] == len(expected) > 0
    np.testing.assert_allclose(found.distance[0, : len(expected)].numpy(), expected.dist, rtol=0, atol=1e-12)
