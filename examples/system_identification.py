"""Finds the mass and the friction of a capsule from one push, by Gauss-Newton steps through the simulator.

An actuated slider pushes a capsule over a floor, and the capsule slides on. C MuJoCo records the position of the
capsule. The simulator repeats the push with wrong guesses, and the exact gradient of its motion corrects them
(Levenberg-Marquardt):

    theta = (log mass, log friction),    r = simulated(theta) - recorded,    (J'J + damping diag(J'J)) step = -J'r

The push determines the mass, the slide afterwards the friction. The simulator runs one copy of the scene per sample,
each with its own parameters, so that a single backward pass gives all rows of J = dr / dtheta.

    python -m examples.system_identification
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("DIFFSIM_X64", "1")  # before diffsim chooses its precision

import matplotlib.pyplot as plt  # noqa: E402
import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import Tensor  # noqa: E402

import diffsim  # noqa: E402

# MuJoCo uses the larger friction of two geoms in contact: the capsule's. The pusher is frictionless and soft.
MJCF = """
<mujoco>
  <option timestep="0.002"/>
  <worldbody>
    <geom name="floor" type="plane" size="0 0 1" friction="0.01"/>
    <body name="pusher" pos="-0.2 0 0.05">
      <joint name="slider" type="slide" axis="1 0 0"/>
      <geom type="sphere" size="0.05" mass="0.5" condim="1" priority="1" solref="0.05 1"/>
    </body>
    <body name="pushed" pos="0 0 0.05">
      <freejoint/>
      <geom name="pushed" type="capsule" zaxis="1 0 0" size="0.05 0.1" mass="{mass}" friction="{friction}"/>
    </body>
  </worldbody>
  <actuator><motor joint="slider"/></actuator>
</mujoco>
"""
FORCES = [8.0] * 8 + [12.0] * 8 + [-4.0] * 24
"""Force of the slider in N for each sample: forward with two strengths, then backward."""
SAMPLES, STEPS_PER_SAMPLE = len(FORCES), 10
X = 1  # index of the capsule's x in qpos, after the slider's position


class Estimate(NamedTuple):
    """Mass in kg and sliding friction of the capsule."""

    mass: float
    friction: float


def compiled(estimate: Estimate) -> mujoco.MjModel:
    """The scene with a capsule of this mass and friction."""
    return mujoco.MjModel.from_xml_string(MJCF.format(**estimate._asdict()))


def record(truth: Estimate) -> np.ndarray:
    """Positions of the capsule along x in C MuJoCo, [SAMPLES] m."""
    mj_model = compiled(truth)
    data = mujoco.MjData(mj_model)
    positions = []
    for force in FORCES:
        data.ctrl[:] = force
        mujoco.mj_step(mj_model, data, nstep=STEPS_PER_SAMPLE)
        positions.append(data.qpos[X])
    return np.array(positions)


def parameters(mj_model: mujoco.MjModel, copies: Tensor) -> dict[str, Tensor]:
    """The model's parameters with the mass and the friction of each copy of the scene; copies = theta [SAMPLES, 2]."""
    fields = "body_mass", "body_inertia", "geom_friction"
    own = {name: torch.as_tensor(getattr(mj_model, name), dtype=diffsim.dtype) for name in fields}
    body, geom = mj_model.body("pushed").id, mj_model.geom("pushed").id
    is_pushed = torch.arange(mj_model.nbody) == body
    is_sliding = torch.zeros(mj_model.ngeom, 3, dtype=torch.bool)
    is_sliding[geom, 0] = True
    mass, friction = copies.exp().unbind(1)
    scale = torch.where(is_pushed, mass[:, None] / own["body_mass"][body], 1.0)  # [SAMPLES, nbody]
    return {
        "body_mass": scale * own["body_mass"],
        "body_inertia": scale[..., None] * own["body_inertia"],
        "geom_friction": torch.where(is_sliding, friction[:, None, None], own["geom_friction"]),
    }


def linearized(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [SAMPLES] m, sample k taken from copy k, and their derivative by theta [2]: [SAMPLES, 2].

    The scene is compiled with this mass and friction, because MuJoCo's compiler computes the softness of contacts from
    the mass. The derivative neglects this dependence: it is small, and has no effect where the motions agree.
    """
    mj_model = compiled(Estimate(*theta.exp().tolist()))
    sim = diffsim.Simulator(diffsim.Model(mj_model), num_worlds=SAMPLES)
    copies = theta.expand(SAMPLES, 2).clone().requires_grad_()
    start = torch.as_tensor(np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv)]), dtype=diffsim.dtype)
    state, positions, changed = start.expand(SAMPLES, -1), [], parameters(mj_model, copies)
    for sample, force in enumerate(FORCES):
        ctrl = torch.full((SAMPLES, 1), force, dtype=diffsim.dtype)
        state = sim.step(state, ctrl, STEPS_PER_SAMPLE, parameters=changed)
        positions.append(state[sample, X])
    positions = torch.stack(positions)
    (J,) = torch.autograd.grad(positions.sum(), copies)
    return positions.detach(), J


def identify(recorded: np.ndarray, initial: Estimate, iterations: int) -> tuple[Estimate, np.ndarray, np.ndarray]:
    """Fits mass and friction.

    Args:
        recorded: [SAMPLES] m.
        initial: first guess.
        iterations: largest number of iterations.

    Returns: the estimate; the motion before and after the fit, [SAMPLES] m each.
    """
    target = torch.as_tensor(recorded, dtype=diffsim.dtype)
    theta = torch.tensor([initial.mass, initial.friction], dtype=diffsim.dtype).log()
    positions, J = linearized(theta)
    before, damping = positions, 1e-2
    print(f"{'iteration':>9} {'rms error [mm]':>15} {'mass [kg]':>10} {'friction':>9}")
    for iteration in range(iterations):
        r = positions - target
        mass, friction = theta.exp().tolist()
        print(f"{iteration:>9} {1e3 * r.square().mean().sqrt():>15.5f} {mass:>10.5f} {friction:>9.5f}")
        normal = J.T @ J
        step = torch.linalg.solve(normal + damping * normal.diag().diag(), -J.T @ r)
        if step.abs().max() < 1e-5:
            break
        tried = linearized(theta + step)
        if (tried[0] - target).square().sum() < r.square().sum():
            theta, (positions, J), damping = theta + step, tried, damping / 10
        else:
            damping *= 10
    return Estimate(*theta.exp().tolist()), before.numpy(), positions.numpy()


def draw(motions: dict[str, np.ndarray], path: Path) -> None:
    """Saves a picture of motions [SAMPLES] m, by their labels."""
    seconds = np.arange(1, SAMPLES + 1) * STEPS_PER_SAMPLE * 0.002
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (label, motion), style in zip(motions.items(), ("k.", "--", "-"), strict=True):
        axes.plot(seconds, motion, style, label=label)
    axes.axvspan(0, 16 * STEPS_PER_SAMPLE * 0.002, alpha=0.1, label="pushed")
    axes.set(xlabel="time [s]", ylabel="position of the capsule [m]")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> tuple[Estimate, Estimate]:
    """Runs the example; returns the true and the recovered values."""
    plt.switch_backend("Agg")
    style = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0], formatter_class=style)
    parser.add_argument("--mass", type=float, default=1.3, help="true mass, kg")
    parser.add_argument("--friction", type=float, default=0.35, help="true sliding friction")
    parser.add_argument("--initial-mass", type=float, default=2.0, help="guess, kg")
    parser.add_argument("--initial-friction", type=float, default=0.15, help="guess")
    parser.add_argument("--iterations", type=int, default=30, help="largest number of iterations")
    parser.add_argument("--output", type=Path, default=Path("runs/system_identification.png"), help="picture")
    options = parser.parse_args(arguments)
    truth = Estimate(options.mass, options.friction)
    initial = Estimate(options.initial_mass, options.initial_friction)
    recorded = record(truth)
    found, before, after = identify(recorded, initial, options.iterations)
    print(f"\n{'':>9} {'true':>9} {'initial':>9} {'recovered':>10} {'error':>9}")
    for name, right, first, last in zip(Estimate._fields, truth, initial, found, strict=True):
        print(f"{name:>9} {right:>9.4f} {first:>9.4f} {last:>10.4f} {abs(last / right - 1):>9.1e}")
    motions = {"recorded by C MuJoCo": recorded, "simulated, initial guess": before, "simulated, identified": after}
    draw(motions, options.output)
    print(f"\npicture: {options.output}")
    return truth, found


if __name__ == "__main__":
    main()
