"""Results of models, for `test_lanes`: python -m tests.diffsim.lane_checks OUTPUT [MODELS [without]].

The environment chooses how they are computed: with DIFFSIM_LANES by stages with that many emulated lanes, else in one
kernel. MODELS is the number of models; `without` leaves out the syncs of the kinematics.
"""

import os
import sys
from pathlib import Path

import gymnasium
import mujoco
import numpy as np
import torch
import warp as wp

import diffsim
from diffsim.physics import bias, kinematics

MODELS = Path(__file__).with_name("models")
ASSETS = Path(gymnasium.__file__).parent / "envs/mujoco/assets"
NAMES = ("contact_stack", "contact_tendon", "contact_weld", "contact_joint_equality", "contact_ball_limit")
NAMES += ("contact_elliptic", "contact_capsules", "contact_friction_loss", "fluid_chain", "actuators", "activations")
NAMES += ("gravcomp", "ellipsoids", "free_body", "spatial_tendons", "contact_adhesion", "servos")
FILES = (ASSETS / "hopper.xml", *(MODELS / f"{name}.xml" for name in NAMES))
WORLDS = 2

if os.environ.get("DIFFSIM_LANES", "0") != "0":
    wp.config.optimization_level = 0  # these kernels are used here only, and compile in a third of the time


@wp.func
def no_sync() -> None:
    """Takes the place of `sync`."""


def start(mj_model: mujoco.MjModel) -> torch.Tensor:
    """States near the model's first keyframe or its reference."""
    rng = np.random.default_rng(0)
    data, states = mujoco.MjData(mj_model), []
    if mj_model.nkey:
        mujoco.mj_resetDataKeyframe(mj_model, data, 0)
    for world in range(WORLDS):
        qpos = data.qpos.copy()
        mujoco.mj_integratePos(mj_model, qpos, 0.1 * world * rng.standard_normal(mj_model.nv), 1.0)
        states.append(np.concatenate([qpos, 0.5 * rng.standard_normal(mj_model.nv), rng.uniform(0, 1, mj_model.na)]))
    return torch.tensor(np.array(states), dtype=diffsim.dtype)


def results(path: Path) -> dict[str, np.ndarray]:
    """Next state, forces, gradients by state, controls and parameters, and Jacobians of a model."""
    model = diffsim.Model.from_mjcf(path)
    simulator = diffsim.Simulator(model, WORLDS)
    state = start(model.mj_model).requires_grad_()
    ctrl = torch.full((WORLDS, model.nu), 0.3, dtype=diffsim.dtype, requires_grad=True)
    mass = torch.as_tensor(model.mj_model.body_mass, dtype=diffsim.dtype).clone().requires_grad_()
    friction = torch.tensor(model.mj_model.dof_damping, dtype=diffsim.dtype, requires_grad=True)
    parameters = {"body_mass": mass, "dof_damping": friction}
    last, point = simulator.advance(state, ctrl, 2, parameters=parameters)
    weights = torch.linspace(0.5, 1.5, last.numel(), dtype=last.dtype).view_as(last)
    total = (last * weights).sum() + 1e-3 * point.qacc.sum() + 1e-3 * point.qfrc_constraint.sum()
    gradients = torch.autograd.grad(total, [state, ctrl, mass, friction])
    jacobians = simulator.linearize(state.detach(), ctrl.detach(), 2) if model.nv < 8 else ()
    named = enumerate((last, point.qacc, point.cfrc_ext, *gradients)), zip("AB", jacobians, strict=False)
    return {f"{path.stem} {name}": value.detach().numpy() for part in named for name, value in part}


if __name__ == "__main__":
    files = FILES[: int(sys.argv[2])] if len(sys.argv) > 2 else FILES
    if "without" in sys.argv:
        bias.sync = kinematics.sync = no_sync
    np.savez(sys.argv[1], allow_pickle=False, **{k: v for path in files for k, v in results(path).items()})
