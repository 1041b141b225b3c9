"""Finds the payload, damping and armature of a robot arm from a motion, by Gauss-Newton steps through the simulator.

C MuJoCo moves a KUKA iiwa that carries a load, and records the joints' angles. The simulator repeats the motion with
wrong guesses, and the exact gradient of the angles corrects them (Levenberg-Marquardt):

    theta = (log mass, height of the centre of mass, log damping of 7 joints, log armature of 7 joints)
    r = simulated(theta) - recorded,    (J'J + damping diag(J'J)) step = -J'r

The simulator runs one copy of the arm per recorded number, each with its own parameters, so that a single backward pass
gives all rows of J = dr / dtheta.

    python -m examples.arm_identification
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("DIFFSIM_X64", "1")  # before diffsim chooses its precision

import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import diffsim  # noqa: E402

ARM = Path(__file__).parent / "models" / "kuka_iiwa_14.xml"
SAMPLES, STEPS_PER_SAMPLE = 14, 10
DAMPING = slice(2, 9)  # of theta
ARMATURE = slice(9, 16)
NAMES = ["mass [kg]", "height [m]"] + [f"{kind} {j}" for kind in ("damping", "armature") for j in range(1, 8)]


def load() -> mujoco.MjModel:
    """The arm."""
    return mujoco.MjModel.from_xml_path(str(ARM))


def home(mj_model: mujoco.MjModel) -> np.ndarray:
    """The angles at the start, which are also the targets around which the servos' targets move: [7] rad."""
    return mj_model.key("home").qpos


def targets(mj_model: mujoco.MjModel) -> np.ndarray:
    """Targets of the servos for each sample: [SAMPLES, 7] rad."""
    time = np.arange(SAMPLES)[:, None] * STEPS_PER_SAMPLE * mj_model.opt.timestep
    return home(mj_model) + 0.4 * np.sin(2 * np.pi * (1.5 + 0.5 * np.arange(7)) * time)


def record(truth: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Angles that C MuJoCo reaches, [SAMPLES, 7] rad, with the values of `truth` [16] and noise on each."""
    mj_model = load()
    changed = parameters(mj_model, torch.as_tensor(truth)[None])
    for name, value in changed.items():
        getattr(mj_model, name)[:] = value[0].numpy()
    data = mujoco.MjData(mj_model)
    data.qpos[:] = home(mj_model)
    angles = []
    for target in targets(mj_model):
        data.ctrl[:] = target
        mujoco.mj_step(mj_model, data, nstep=STEPS_PER_SAMPLE)
        angles.append(data.qpos.copy())
    return np.array(angles) + noise * rng.normal(size=(SAMPLES, 7))


def parameters(mj_model: mujoco.MjModel, theta: Tensor) -> dict[str, Tensor]:
    """Fields of the model for theta [N, 16]. The load is part of the last link."""
    link = mj_model.body("link7").id
    is_link = torch.arange(mj_model.nbody) == link
    mass = torch.as_tensor(mj_model.body_mass, dtype=theta.dtype)
    place = torch.as_tensor(mj_model.body_ipos, dtype=theta.dtype)
    height = torch.stack([*place[link, :2].expand(len(theta), 2).unbind(1), theta[:, 1]], dim=1)
    return {
        "body_mass": torch.where(is_link, theta[:, :1].exp(), mass),
        "body_ipos": torch.where(is_link[:, None], height[:, None], place),
        "dof_damping": theta[:, DAMPING].exp(),
        "dof_armature": theta[:, ARMATURE].exp(),
    }


def linearized(sim: diffsim.Simulator, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Angles [SAMPLES * 7] rad, number k taken from copy k of the arm, and their derivative [SAMPLES * 7, 16]."""
    mj_model = sim.model.mj_model
    copies = theta.expand(sim.num_worlds, -1).clone().requires_grad_()
    start = torch.as_tensor(np.concatenate([home(mj_model), np.zeros(7)]), dtype=diffsim.dtype)
    state, angles, changed = start.expand(sim.num_worlds, -1), [], parameters(mj_model, copies)
    for sample, target in enumerate(targets(mj_model)):
        ctrl = torch.as_tensor(target, dtype=diffsim.dtype).expand(sim.num_worlds, -1)
        state = sim.step(state, ctrl, STEPS_PER_SAMPLE, parameters=changed)
        angles += [state[7 * sample + joint, joint] for joint in range(7)]
    angles = torch.stack(angles)
    (J,) = torch.autograd.grad(angles.sum(), copies)
    return angles.detach(), J


def identify(recorded: np.ndarray, initial: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Fits theta to angles [SAMPLES, 7]; returns it, and the standard deviations of its errors, [16] each."""
    sim = diffsim.Simulator(diffsim.Model(load()), num_worlds=recorded.size)
    target, theta = torch.as_tensor(recorded).reshape(-1), torch.as_tensor(initial)
    (angles, J), damping = linearized(sim, theta), 1.0
    for iteration in range(iterations):
        r = angles - target
        print(f"iteration {iteration:>2}: rms error {1e3 * r.square().mean().sqrt():.5f} mrad")
        normal = J.T @ J
        step = torch.linalg.solve(normal + damping * normal.diag().diag(), -J.T @ r)
        if step.abs().max() < 1e-6:
            break
        tried = linearized(sim, theta + step)
        if (tried[0] - target).square().sum() < r.square().sum():
            theta, (angles, J), damping = theta + step, tried, damping / 10
        else:
            damping *= 10
    variance = (angles - target).square().sum() / (len(target) - len(theta))
    return theta.numpy(), (variance * torch.linalg.inv(J.T @ J).diag()).sqrt().numpy()


def main(arguments: list[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Runs the example; returns the true and the recovered values, and the estimated standard deviations."""
    style = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], formatter_class=style)
    parser.add_argument("--mass", type=float, default=3.2, help="true mass of the last link with its load, kg")
    parser.add_argument("--height", type=float, default=0.07, help="true height of its centre of mass, m")
    parser.add_argument("--noise", type=float, default=1e-5, help="standard deviation of recorded angles, rad")
    parser.add_argument("--seed", type=int, default=0, help="of damping, armature and noise")
    parser.add_argument("--iterations", type=int, default=20, help="largest number of iterations")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    joints = np.log(np.concatenate([rng.uniform(2.0, 20.0, 7), rng.uniform(0.1, 0.5, 7)]))
    truth = np.concatenate([[np.log(options.mass), options.height], joints])
    initial = np.concatenate([[np.log(1.2), 0.02], np.log([5.0] * 7 + [0.2] * 7)])
    found, deviation = identify(record(truth, options.noise, rng), initial, options.iterations)
    right, last, first = (np.where(np.arange(16) == 1, values, np.exp(values)) for values in (truth, found, initial))
    spread = np.where(np.arange(16) == 1, deviation, last * deviation)
    print(f"\n{'':>11} {'true':>9} {'initial':>9} {'recovered':>10} {'deviation':>10}")
    for name, *row in zip(NAMES, right, first, last, spread, strict=True):
        print(f"{name:>11} {row[0]:>9.4f} {row[1]:>9.4f} {row[2]:>10.4f} {row[3]:>10.4f}")
    return right, last, spread


if __name__ == "__main__":
    main()
