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

import argparse  # noqa: E402
import time  # noqa: E402
from dataclasses import dataclass  # noqa: E402

import mujoco  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

import diffsim  # noqa: E402
from benchmarks.command import arguments_of, make_parser, page, parse, positive, table  # noqa: E402
from benchmarks.pictures import draw_gradients  # noqa: E402
from benchmarks.runs import write_rows  # noqa: E402
from tests.diffsim import contact_reference as reference  # noqa: E402
from tests.diffsim.reference import Stepper, block_error  # noqa: E402

ITERATION = "C MuJoCo finds a contact by iteration"
# Causes, by the part of a state's signature that differs.
CAUSES = ["contacts change", "constraints change", "constraints change", "a constraint starts or stops acting"]


@dataclass
class Error:
    """Relative error of the Jacobian at a state, the worst of the position, velocity and control columns.

    `own_error` is that of the differences. `switch` says why these may be wrong: an entry of CAUSES, or ITERATION; it
    is empty if they are a reference.
    """

    task: str
    state: int
    error: float
    own_error: float
    switch: str

    def cause(self) -> str:
        """Cause of the error."""
        if self.switch:
            return self.switch
        if self.own_error > 0.1 * self.error:
            return f"error of the differences themselves, {self.own_error:.0e}"
        return f"not explained (the error of the differences themselves is {self.own_error:.0e})"


@dataclass
class Growth:
    """Median and largest norm of the product of Jacobians after some environment steps."""

    task: str
    steps: int
    median: float
    max: float


def measure_errors(id: str, count: int, seed: int) -> tuple[list[Error], float]:
    """Compares our Jacobian with differences of C MuJoCo at `count` visited states.

    Returns: the errors, and the share of states where a contact, limit or friction loss acts.
    """
    mj_model, frame_skip = reference.load_task(id)
    mj_model.opt.iterations = 10  # enough, by the error of the differences themselves
    state, ctrl = reference.visited_states(mj_model, count, frame_skip, inside=True, seed=seed)
    simulator = diffsim.Simulator(diffsim.Model(mj_model), count)
    ours = torch.cat(simulator.linearize(*map(torch.tensor, (state, ctrl)), num_steps=frame_skip), dim=2).numpy()
    tracer, stepper = reference.Tracer(mj_model), Stepper(mj_model)
    steps, errors, constrained = reference.difference_steps(mj_model), [], 0
    for world in range(count):
        place = (state[world], ctrl[world], frame_skip)
        part = reference.switch(tracer, *place, steps)
        expected, own_error = reference.extrapolated_differences(mj_model, stepper, *place, steps)
        cause = "" if part is None else CAUSES[part]
        if part is None and any(reference.iterates(mj_model, s) for s in tracer.signatures(*place)):
            cause = ITERATION
        errors.append(Error(id, world, block_error(ours[world], expected, mj_model.nv), own_error, cause))
        mujoco.mj_forward(mj_model, stepper.set(state[world], ctrl[world]))
        constrained += stepper.data.efc_force.any()
    return errors, constrained / count


def measure_growth(id: str, rollouts: int, horizon: int, seed: int) -> np.ndarray:
    """Multiplies Jacobians of environment steps from the task's initial states, under uniform random actions.

    Roll-outs continue where an episode would end.

    Returns: spectral norms of the products after 1 to H environment steps, [R, H] for R roll-outs.
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
    return np.stack(norms, axis=1)


ERROR_HEADER = (
    "task | states: | constrained: | median: | 95th percentile: | worst: | cause of the worst | set apart: "
    "| the others: median: | 95th percentile: | worst: | cause of the worst"
)
GROWTH_STEPS = (1, 2, 4, 8, 16, 32, 64)


def statistics(errors: list[Error]) -> list[str]:
    """Median, 95th percentile and worst error, and the cause of the worst."""
    if not errors:
        return ["-"] * 4
    values = np.array([one.error for one in errors])
    numbers = np.median(values), np.quantile(values, 0.95), values.max()
    return [*(f"{number:.1e}" for number in numbers), errors[values.argmax()].cause()]


def error_row(errors: list[Error], constrained: float) -> list[str]:
    """A row of the table of errors."""
    smooth = [one for one in errors if not one.switch]
    first = [errors[0].task, str(len(errors)), f"{constrained:.0%}"]
    return [*first, *statistics(errors), f"{1 - len(smooth) / len(errors):.1%}", *statistics(smooth)]


def growth_row(growth: list[Growth]) -> list[str]:
    """A row of the table of growth: median and largest norm."""
    shown = [one for one in growth if one.steps in GROWTH_STEPS]
    return [growth[0].task, *(f"{one.median:.2g} / {one.max:.2g}" for one in shown)]


def save(results: list[tuple[list[Error], float, list[Growth]]], options: argparse.Namespace) -> None:
    """Writes gradients.md, and all errors and norms as CSV."""
    shown = [str(step) for step in GROWTH_STEPS if step <= options.horizon]
    text = page(
        "Gradients",
        f"gradients {arguments_of(options, 'states', 'seed')}",
        "## Error",
        "Relative error of the Jacobian of one environment step (largest difference over largest entry, the worst "
        "of the position, velocity and control columns) against central differences of C MuJoCo with a converged "
        "solver, at visited states. Constrained: share of states where a contact, a limit or friction loss acts. "
        "Set apart: share of states where the points of the differences (1e-6 rad or m, 1e-5 rad/s or m/s, 1e-4 "
        "of control away) do not all have the same contacts and active constraints, so that the differences "
        "cross a kink, or where C MuJoCo finds a contact (capsule and cylinder) by iteration, whose rounding the "
        "differences amplify.",
        table(ERROR_HEADER, [error_row(errors, constrained) for errors, constrained, _ in results]),
        "## Growth of the product of Jacobians",
        f"Spectral norm of the derivative of the state after 1 to {options.horizon} environment steps by the first "
        f"state, in SI units of positions and velocities mixed: median / largest over {options.rollouts} roll-outs "
        "with uniform random actions from the task's initial states. Roll-outs continue where an episode would end.",
        table(" | ".join(["task", *(f"{step}:" for step in shown)]), [growth_row(growth) for *_, growth in results]),
        "\n".join(f"![{errors[0].task}]({errors[0].task}.png)" for errors, *_ in results),
    )
    (options.output / "gradients.md").write_text(text)
    write_rows([one for errors, *_ in results for one in errors], options.output / "errors.csv", "{:.3e}".format)
    write_rows([one for *_, growth in results for one in growth], options.output / "growth.csv", "{:.4g}".format)


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, draws and saves."""
    parser = make_parser("gradients", __doc__)
    tasks = list(reference.TASKS)  # those of Gymnasium
    parser.add_argument("--tasks", nargs="+", choices=tasks, default=tasks, metavar="ID", help="default: all")
    parser.add_argument("--states", type=positive(int), default=200, help="visited states, default 200")
    parser.add_argument("--rollouts", type=positive(int), default=32, help="for the growth, default 32")
    parser.add_argument("--horizon", type=positive(int), default=64, help="environment steps, default 64")
    parser.add_argument("--seed", type=int, default=0, help="of states and actions, default 0")
    options = parse(parser, arguments)
    results = []
    for index, id in enumerate(options.tasks):
        start = time.perf_counter()
        try:
            errors, constrained = measure_errors(id, options.states, options.seed)
        except diffsim.UnsupportedModelError as error:
            print(f"{id} skipped: {error}", flush=True)
            continue
        norm = measure_growth(id, options.rollouts, options.horizon, options.seed)
        medians = np.median(norm, axis=0).tolist(), norm.max(axis=0).tolist()
        growth = [Growth(id, i + 1, *pair) for i, pair in enumerate(zip(*medians, strict=True))]
        results.append((errors, constrained, growth))
        values, own = (np.array([getattr(one, name) for one in errors]) for name in ("error", "own_error"))
        smooth = np.array([not one.switch for one in errors])
        draw_gradients(id, values, own, smooth, norm, options.output / f"{id}.png")
        save(results, options)
        print(table(ERROR_HEADER, [error_row(errors, constrained)]), " | ".join(growth_row(growth)), sep="\n")
        print(f"{index + 1} of {len(options.tasks)} tasks, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
