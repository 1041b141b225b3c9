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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
SAMPLES, STEPS_PER_SAMPLE = 40, 10
X = 1  # index of the capsule's x in qpos, after the slider's position


@dataclass
class Estimate:
    """Mass in kg and sliding friction of the capsule."""

    mass: float
    friction: float


def compiled(estimate: Estimate) -> mujoco.MjModel:
    """The scene with a capsule of this mass and friction."""
    return mujoco.MjModel.from_xml_string(MJCF.format(mass=estimate.mass, friction=estimate.friction))


def push(sample: int) -> float:
    """Force of the slider in N: forward with two strengths, then backward."""
    return 8.0 if sample < 8 else 12.0 if sample < 16 else -4.0


def record(truth: Estimate) -> np.ndarray:
    """Positions of the capsule along x in C MuJoCo, [SAMPLES] m."""
    mj_model = compiled(truth)
    data = mujoco.MjData(mj_model)
    positions = []
    for sample in range(SAMPLES):
        data.ctrl[:] = push(sample)
        mujoco.mj_step(mj_model, data, nstep=STEPS_PER_SAMPLE)
        positions.append(data.qpos[X])
    return np.array(positions)


def simulation(guess: Estimate) -> Callable[[Tensor], Tensor]:
    """The same motion as a function of theta [SAMPLES, 2], a row per copy of the scene: x [SAMPLES] m, differentiable.

    Sample k is taken from copy k.
    """
    mj_model = compiled(guess)
    sim = diffsim.Simulator(diffsim.Model(mj_model), num_worlds=SAMPLES)
    fields = ("body_mass", "body_inertia", "geom_friction")
    own = {name: torch.as_tensor(getattr(mj_model, name), dtype=diffsim.dtype) for name in fields}
    start = torch.as_tensor(np.concatenate([mj_model.qpos0, np.zeros(mj_model.nv)]), dtype=diffsim.dtype)
    is_pushed = torch.arange(mj_model.nbody) == mj_model.body("pushed").id
    is_sliding = torch.zeros(mj_model.ngeom, 3, dtype=torch.bool)
    is_sliding[mj_model.geom("pushed").id, 0] = True

    def simulate(theta: Tensor) -> Tensor:
        mass, friction = theta.exp().unbind(1)
        scale = torch.where(is_pushed, mass[:, None] / guess.mass, 1.0)  # [SAMPLES, nbody]
        parameters = {
            "body_mass": scale * own["body_mass"],
            "body_inertia": scale[..., None] * own["body_inertia"],
            "geom_friction": torch.where(is_sliding, friction[:, None, None], own["geom_friction"]),
        }
        state, positions = start.expand(SAMPLES, -1), []
        for sample in range(SAMPLES):
            ctrl = torch.full((SAMPLES, 1), push(sample), dtype=diffsim.dtype)
            state = sim.step(state, ctrl, STEPS_PER_SAMPLE, parameters=parameters)
            positions.append(state[sample, X])
        return torch.stack(positions)

    return simulate


def linearized(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Positions [SAMPLES] m and their derivative with respect to theta [2]: [SAMPLES, 2].

    The scene is compiled with this mass and friction, because MuJoCo's compiler computes the softness of contacts from
    the mass. The derivative neglects this dependence: it is small, and has no effect where the motions agree.
    """
    simulate = simulation(Estimate(*theta.exp().tolist()))
    copies = theta.expand(SAMPLES, 2).clone().requires_grad_()
    positions = simulate(copies)
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


def draw(recorded: np.ndarray, before: np.ndarray, after: np.ndarray, path: Path) -> None:
    """Saves a picture of the recorded and the simulated motions."""
    seconds = np.arange(1, SAMPLES + 1) * STEPS_PER_SAMPLE * 0.002
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(seconds, recorded, "k.", label="recorded by C MuJoCo")
    axes.plot(seconds, before, "--", label="simulated, initial guess")
    axes.plot(seconds, after, label="simulated, identified")
    axes.axvspan(0, 16 * STEPS_PER_SAMPLE * 0.002, alpha=0.1, label="pushed")
    axes.set(xlabel="time [s]", ylabel="position of the capsule [m]")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def print_table(truth: Estimate, initial: Estimate, found: Estimate) -> None:
    """True, initial and recovered values, and the recovered ones' relative error."""
    print(f"\n{'':>9} {'true':>9} {'initial':>9} {'recovered':>10} {'error':>9}")
    for name in ("mass", "friction"):
        right, first, last = (getattr(estimate, name) for estimate in (truth, initial, found))
        print(f"{name:>9} {right:>9.4f} {first:>9.4f} {last:>10.4f} {abs(last / right - 1):>9.1e}")


def main(arguments: list[str] | None = None) -> tuple[Estimate, Estimate]:
    """Runs the example; returns the true and the recovered values."""
    plt.switch_backend("Agg")
    parser = argparse.ArgumentParser(description="Finds the mass and the friction of a pushed capsule from its motion.")
    parser.add_argument("--mass", type=float, default=1.3, help="true mass, kg (default: %(default)s)")
    parser.add_argument("--friction", type=float, default=0.35, help="true sliding friction (default: %(default)s)")
    parser.add_argument("--initial-mass", type=float, default=2.0, help="guess, kg (default: %(default)s)")
    parser.add_argument("--initial-friction", type=float, default=0.15, help="guess (default: %(default)s)")
    parser.add_argument(
        "--iterations", type=int, default=30, help="largest number of iterations (default: %(default)s)"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("runs/system_identification.png"), help="picture of the fit"
    )
    options = parser.parse_args(arguments)
    truth = Estimate(options.mass, options.friction)
    initial = Estimate(options.initial_mass, options.initial_friction)
    recorded = record(truth)
    found, before, after = identify(recorded, initial, options.iterations)
    print_table(truth, initial, found)
    draw(recorded, before, after, options.output)
    print(f"\npicture: {options.output}")
    return truth, found


if __name__ == "__main__":
    main()
