"""Keyframes as states, and worlds put back to a state."""

import mujoco
import pytest
import torch

import diffsim

from .engine import simulator

XML = """
<mujoco>
  <worldbody><body><freejoint/><geom size=".1"/>
    <body><joint name="hinge"/><geom size=".1" pos=".2 0 0"/></body></body></worldbody>
  <actuator><motor joint="hinge"/></actuator>
  <keyframe><key name="up" qpos="0 0 2 1 0 0 0 .3" qvel="0 0 1 0 0 0 .5" ctrl=".7"/>
    <key qpos="1 0 1 1 0 0 0 0"/></keyframe>
</mujoco>
"""


@pytest.fixture(scope="module")
def sim():
    return simulator(mujoco.MjModel.from_xml_string(XML), 3)


def test_keyframe(sim):
    state, ctrl = sim.keyframe("up")
    expected = [0, 0, 2, 1, 0, 0, 0, 0.3, 0, 0, 1, 0, 0, 0, 0.5]
    assert torch.equal(state, torch.tensor([expected] * 3, dtype=diffsim.dtype))
    assert torch.equal(ctrl, torch.full((3, 1), 0.7, dtype=diffsim.dtype))
    assert sim.keyframe(1)[0][2, 0] == 1
    with pytest.raises(KeyError, match=r"key must be one of \['up', None\] or an id below 2, got 'down'"):
        sim.keyframe("down")


def test_reset(sim):
    state = torch.rand(3, 15, dtype=diffsim.dtype, requires_grad=True)
    mask = torch.tensor([True, False, True])
    start = torch.rand(15, dtype=diffsim.dtype, requires_grad=True)
    result = sim.reset(state, mask, start)
    assert torch.equal(result, torch.stack([start, state[1], start]))
    result.sum().backward()
    assert start.grad is not None and state.grad is not None
    assert (start.grad == 2).all() and state.grad.sum(1).tolist() == [0, 15, 0]
    assert torch.equal(sim.reset(state, mask, "up")[0], sim.keyframe("up")[0][0])
    assert sim.reset(state, mask)[2, :4].tolist() == [0, 0, 0, 1]
    with pytest.raises(ValueError, match=r"mask must be a torch.bool tensor of shape \(3,\), got \(2,\) torch.bool"):
        sim.reset(state, mask[:2])
    with pytest.raises(ValueError, match=r"to must have shape \(3, 15\), got \(3, 14\)"):
        sim.reset(state, mask, start[:14])
