"""Error of the gradient, and its growth along a trajectory.

For each task, the Jacobian of one environment step (all its physics steps) in state and action is compared with
central differences of C MuJoCo, at visited states, most of them in contact. Two kinds of states are set apart, and
errors are given with and without them: those where a contact or a limit switches between the points of the
differences, so that there is no unique derivative, and those where C MuJoCo finds a contact by iteration, so that the
differences are too coarse. Then Jacobians are multiplied along trajectories of random actions.

    python -m benchmarks.gradients --tasks Hopper-v5 --states 50
"""

from __future__ import annotations

import os

os.environ["DIFFSIM_X64"] = "1"  # read when diffsim is imported

import csv  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import diffsim  # noqa: E402
from benchmarks.machine import RESULTS, made_by, make_parser, positive  # noqa: E402
from benchmarks.pictures import draw  # noqa: E402
from diffsim.tasks import TASKS  # noqa: E402
from tests.diffsim.contact_reference import (  # noqa: E402
    Tracer,
    difference_steps,
    extrapolated_differences,
    iterates,
    load_task,
    switch,
    visited_states,
)
from tests.diffsim.reference import Stepper, block_error  # noqa: E402

ITERATION = "C MuJoCo finds a contact by iteration"
# Causes, by the part of a state's signature that differs.
CAUSES = ["contacts change", "constraints change", "constraints change", "a constraint starts or stops acting"]


@dataclass
class Errors:
    """Relative errors of the Jacobian at N states."""

    error: np.ndarray  # [N], the worst of the position, velocity and control columns
    own_error: np.ndarray  # [N], of the differences
    cause: list[str | None]  # [N], why the differences may be wrong: an entry of CAUSES, or ITERATION; else None
    constrained: np.ndarray  # [N], whether a contact, limit or friction loss acts

    @property
    def smooth(self) -> np.ndarray:
        """Whether the differences are a reference, [N]."""
        return np.array([cause is None for cause in self.cause])


@dataclass
class Growth:
    """Spectral norms of the products of Jacobians after 1 to H environment steps, [R, H] of R roll-outs."""

    norm: np.ndarray


def measure_errors(id: str, count: int, seed: int) -> Errors:
    """Compares our Jacobian with differences of C MuJoCo at `count` visited states."""
    mj_model, frame_skip = load_task(id)
    mj_model.opt.iterations = 10  # enough, by the error of the differences themselves
    nv = mj_model.nv
    state, ctrl = visited_states(mj_model, count, frame_skip, inside=True, seed=seed)
    simulator = diffsim.Simulator(diffsim.Model(mj_model), count)
    ours = torch.cat(simulator.linearize(*map(torch.tensor, (state, ctrl)), num_steps=frame_skip), dim=2).numpy()
    tracer, stepper, steps = Tracer(mj_model), Stepper(mj_model), difference_steps(mj_model)
    error, own_error, cause, constrained = [], [], [], []
    for world in range(count):
        place = (state[world], ctrl[world], frame_skip, steps)
        part = switch(tracer, *place)
        expected, own = extrapolated_differences(mj_model, stepper, *place)
        error.append(block_error(ours[world], expected, nv))
        own_error.append(own)
        if part is not None:
            cause.append(CAUSES[part])
        else:
            signatures = tracer.signatures(state[world], ctrl[world], frame_skip)
            cause.append(ITERATION if any(iterates(mj_model, s) for s in signatures) else None)
        mujoco.mj_forward(mj_model, stepper.set(state[world], ctrl[world]))
        constrained.append(stepper.data.efc_force.any())
    return Errors(np.array(error), np.array(own_error), cause, np.array(constrained))


def measure_growth(id: str, rollouts: int, horizon: int, seed: int) -> Growth:
    """Multiplies Jacobians of environment steps from the task's initial states, under uniform random actions.

    Roll-outs continue where an episode would end.
    """
    task = diffsim.make(id, num_envs=rollouts)
    generator = torch.Generator().manual_seed(seed)
    mj_model = task.mj_model
    state = task.initial(generator)[:, : mj_model.nq + mj_model.nv]
    low, high = torch.tensor(mj_model.actuator_ctrlrange.T)
    product = torch.eye(2 * mj_model.nv, dtype=torch.float64)
    norms = []
    for _ in range(horizon):
        noise = torch.rand(rollouts, mj_model.nu, generator=generator, dtype=torch.float64)
        ctrl = low + (high - low) * noise
        product = task.simulator.linearize(state, ctrl, num_steps=task.frame_skip)[0] @ product
        state = task.simulator.step(state, ctrl, num_steps=task.frame_skip)
        norms.append(torch.linalg.matrix_norm(product, 2).numpy())
    return Growth(np.stack(norms, axis=1))


def cause_of_worst(errors: Errors, which: np.ndarray) -> str:
    """Cause of the largest error among the states `which` [N]."""
    worst = int(np.flatnonzero(which)[errors.error[which].argmax()])
    cause = errors.cause[worst]
    if cause is not None:
        return cause
    if errors.own_error[worst] > 0.1 * errors.error[worst]:
        return f"error of the differences themselves, {errors.own_error[worst]:.0e}"
    return f"not explained (the error of the differences themselves is {errors.own_error[worst]:.0e})"


HEADER = (
    "| task | states | constrained | median | 95th percentile | worst | cause of the worst | set apart "
    "| the others: median | 95th percentile | worst | cause of the worst |"
)
GROWTH_STEPS = (1, 2, 4, 8, 16, 32, 64)


def error_line(id: str, errors: Errors) -> str:
    """A row of the table of errors."""
    parts = [id, str(len(errors.error)), f"{errors.constrained.mean():.0%}"]
    everywhere, smooth = np.ones(len(errors.error), bool), errors.smooth
    for which in (everywhere, smooth):
        if which.any():
            chosen = errors.error[which]
            parts += [f"{x:.1e}" for x in (np.median(chosen), np.quantile(chosen, 0.95), chosen.max())]
            parts.append(cause_of_worst(errors, which))
        else:
            parts += ["-"] * 4
        if which is everywhere:
            parts.append(f"{np.mean(~smooth):.1%}")
    return f"| {' | '.join(parts)} |"


def growth_line(id: str, growth: Growth) -> str:
    """A row of the table of growth: median and largest norm."""
    steps = [step for step in GROWTH_STEPS if step <= growth.norm.shape[1]]
    norms = [growth.norm[:, step - 1] for step in steps]
    return f"| {id} | " + " | ".join(f"{np.median(norm):.2g} / {norm.max():.2g}" for norm in norms) + " |"


def report(results: dict[str, tuple[Errors, Growth]], command: str) -> str:
    """The Markdown page of all tasks."""
    horizon = min(growth.norm.shape[1] for _, growth in results.values())
    rollouts = min(len(growth.norm) for _, growth in results.values())
    growth_header = "| task | " + " | ".join(str(step) for step in GROWTH_STEPS if step <= horizon) + " |"
    return "\n".join(
        [
            "# Gradients",
            "",
            f"{made_by(command)}.",
            "",
            "## Error",
            "",
            "Relative error of the Jacobian of one environment step (largest difference over largest entry, the worst "
            "of the position, velocity and control columns) against central differences of C MuJoCo with a converged "
            "solver, at visited states. Constrained: share of states where a contact, a limit or friction loss acts. "
            "Set apart: share of states where the points of the differences (1e-6 rad or m, 1e-5 rad/s or m/s, 1e-4 "
            "of control away) do not all have the same contacts and active constraints, so that the differences "
            "cross a kink, or where C MuJoCo finds a contact (capsule and cylinder) by iteration, whose rounding the "
            "differences amplify.",
            "",
            HEADER,
            "|---|" + "---:|" * 5 + "---|" + "---:|" * 4 + "---|",
            *(error_line(id, errors) for id, (errors, _) in results.items()),
            "",
            "## Growth of the product of Jacobians",
            "",
            f"Spectral norm of the derivative of the state after 1 to {horizon} environment steps by the first state, "
            f"in SI units of positions and velocities mixed: median / largest over {rollouts} roll-outs with uniform "
            "random actions from the task's initial states. Roll-outs continue where an episode would end.",
            "",
            growth_header,
            "|---|" + "---:|" * (growth_header.count("|") - 2),
            *(growth_line(id, growth) for id, (_, growth) in results.items()),
            "",
            *(f"![{id}]({id}.png)" for id in results),
            "",
        ]
    )


def save(results: dict[str, tuple[Errors, Growth]], folder: Path, command: str) -> None:
    """Writes gradients.md, and all errors and norms as CSV."""
    (folder / "gradients.md").write_text(report(results, command))
    with (folder / "errors.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "state", "error", "own_error", "switch"])
        for id, (errors, _) in results.items():
            columns = zip(errors.error, errors.own_error, errors.cause, strict=True)
            writer.writerows([id, i, f"{e:.3e}", f"{o:.3e}", c or ""] for i, (e, o, c) in enumerate(columns))
    with (folder / "growth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "steps", "median", "max"])
        for id, (_, growth) in results.items():
            pairs = zip(np.median(growth.norm, axis=0), growth.norm.max(axis=0), strict=True)
            writer.writerows([id, i + 1, f"{a:.4g}", f"{b:.4g}"] for i, (a, b) in enumerate(pairs))


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves."""
    parser = make_parser("gradients", __doc__)
    parser.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), metavar="ID", help="default: all"
    )
    parser.add_argument("--states", type=positive(int), default=200, help="visited states, default 200")
    parser.add_argument("--rollouts", type=positive(int), default=32, help="for the growth, default 32")
    parser.add_argument("--horizon", type=positive(int), default=64, help="environment steps, default 64")
    parser.add_argument("--seed", type=int, default=0, help="of states and actions, default 0")
    parser.add_argument("--output", type=Path, default=RESULTS / "gradients", help="folder of table and pictures")
    options = parser.parse_args(arguments)
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    print(HEADER, flush=True)
    command = f"python -m benchmarks.gradients --states {options.states} --seed {options.seed}"
    results = {}
    for index, id in enumerate(options.tasks):
        start = time.perf_counter()
        try:
            errors = measure_errors(id, options.states, options.seed)
        except diffsim.UnsupportedModelError as error:
            print(f"{id} skipped: {error}", flush=True)
            continue
        growth = measure_growth(id, options.rollouts, options.horizon, options.seed)
        results[id] = errors, growth
        draw(id, errors.error, errors.own_error, errors.smooth, growth.norm, options.output / f"{id}.png")
        save(results, options.output, command)
        print(error_line(id, errors), growth_line(id, growth), sep="\n")
        print(f"{index + 1} of {len(options.tasks)} tasks, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
