"""Which models of some folders the simulator takes, and how far it is from C MuJoCo on them.

At states that C MuJoCo visits from the first keyframe under small random controls: the relative error of one step in
float64, and that of its Jacobian beside central differences, and what of it C MuJoCo's own scatter explains (see
`benchmarks.parity_errors`).

    python -m benchmarks.parity menagerie=MENAGERIE dm_control=SUITE --source "menagerie=owner/name at a commit"
"""

from __future__ import annotations

import os

os.environ["DIFFSIM_X64"] = "1"  # read when diffsim is imported

import argparse  # noqa: E402
import re  # noqa: E402
from collections import Counter  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402

import mujoco  # noqa: E402
import numpy as np  # noqa: E402

import diffsim  # noqa: E402
from benchmarks import parity_errors, robot_models  # noqa: E402
from benchmarks.command import make_parser, page, parse, positive, table  # noqa: E402
from benchmarks.runs import write_rows  # noqa: E402

CLEAN, SCATTER, OPEN, STEP_ONLY = "clean", "within C's scatter", "open", "clean step, no smooth state"
FLAWS = (ValueError, FloatingPointError, diffsim.ContactOverflowError)


@dataclass
class Parity:
    """One model: its sizes, what is refused, and its errors."""

    folder: str
    model: str
    nq: int = 0
    nv: int = 0
    na: int = 0
    nu: int = 0
    refused: str = ""
    step: float = np.nan
    median: float = np.nan
    unexplained: float = np.nan
    jacobian: float = np.nan
    noise: float = np.nan
    smooth: int = 0
    verdict: str = ""
    failed: str = ""

    @property
    def measured(self) -> bool:
        """Whether there are errors."""
        return not np.isnan(self.step)

    @property
    def cells(self) -> list[str]:
        """A line of the table of errors."""
        sizes = [str(value) for value in (self.nq, self.nv, self.na, self.nu)]
        numbers = (self.step, self.median, self.unexplained, self.jacobian, self.noise)
        errors = ["-" if np.isnan(number) else f"{number:.0e}" for number in numbers]
        return [self.folder, self.model, *sizes, *errors, str(self.smooth), self.verdict]

    def judge(self) -> None:
        """Says whether both errors are below the limits, and if not, whether C MuJoCo's own scatter explains them."""
        jacobian = self.jacobian > parity_errors.JACOBIAN_LIMIT
        if self.step <= parity_errors.STEP_LIMIT and not jacobian:
            self.verdict = CLEAN if self.smooth else STEP_ONLY
        elif self.unexplained == 0 and not (jacobian and self.jacobian > parity_errors.SCATTERED * self.noise):
            self.verdict = SCATTER
        else:
            self.verdict = OPEN


def reasons(features: list[str]) -> list[str]:
    """Unsupported features without the names of elements, each once."""
    return list(
        Counter(re.sub(r"\s*(\([^)]*\)|'[^']*'|#\d+|=\d+)", "", feature).split(", ")[0] for feature in features)
    )


def measure(folder: str, path: Path, states: int) -> Parity:
    """The row of a model."""
    row = Parity(folder, path.stem)
    try:
        mj_model = mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        row.failed = f"C MuJoCo does not load it: {str(error).splitlines()[0]}"
        return row
    row.nq, row.nv, row.na, row.nu = mj_model.nq, mj_model.nv, mj_model.na, mj_model.nu
    parity_errors.converge(mj_model)
    try:
        diffsim.Model(mj_model)
    except diffsim.UnsupportedModelError as error:
        row.refused = "; ".join(reasons(error.features))
        return row
    if mj_model.nv == 0:
        row.failed = "no degrees of freedom"
        return row
    try:
        robot = robot_models.start(path.stem, mj_model)
        visited, ctrls = robot_models.visited(robot, states)
        ctrls = parity_errors.stimulated(mj_model, ctrls)
        row.step, row.median, row.unexplained = parity_errors.step_errors(mj_model, visited, ctrls)
        row.jacobian, row.noise, row.smooth = parity_errors.jacobian_errors(mj_model, visited, ctrls)
        row.judge()
    except FLAWS as error:
        row.failed = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    return row


def save(rows: list[Parity], options: argparse.Namespace) -> None:
    """Writes parity.md and parity.csv."""
    measured = [row for row in rows if row.measured]
    accepted = sum(not row.refused and not row.failed.startswith("C MuJoCo") for row in rows)
    refused = [[row.folder, row.model, row.refused] for row in rows if row.refused]
    failed = [[row.folder, row.model, row.failed] for row in rows if row.failed]
    causes = Counter(reason for row in rows if row.refused for reason in row.refused.split("; "))
    sources = [f"- {folder}: {options.source.get(folder, 'not given')}" for folder in options.folders]
    text = page(
        "Parity with C MuJoCo on real models",
        "parity NAME=FOLDER ... --source NAME=TEXT ...",
        f"The simulator takes {accepted} of {len(rows)} models. Sources:",
        "\n".join(sources),
        "## Errors",
        ", ".join(f"{kind}: {n}" for kind, n in Counter(row.verdict for row in measured).items()) + ".",
        f"At {options.states} states that C MuJoCo visits from the first keyframe under small random controls, "
        "those of muscles raised by up to a tenth: the relative error (largest difference / (1 + largest number of the "
        "state)) of one step in float64 beside C MuJoCo's, both converged (`parity_errors.converge`): the largest, the "
        "median, and the largest one that is "
        f"unexplained. An error above {parity_errors.STEP_LIMIT:g} is explained if C MuJoCo's own step changes by a "
        f"tenth of it or more where the state moves by about {parity_errors.NUDGE:g}, or where its `ccd_tolerance` is "
        f"{parity_errors.TOLERANCES[-1]:g} or less: it chooses among equal contacts, finds one by iteration, or its "
        "solver has stopped.",
        f"At the smooth ones of the first {parity_errors.STATES} states (of the first state alone for more than "
        f"{parity_errors.COLUMNS} columns): the largest relative error of the Jacobian by position, velocity, "
        "activation and control beside C MuJoCo's central differences, extrapolated, with the best of steps of "
        f"{', '.join(f'{size:g}' for size in parity_errors.SIZES)}; and the noise of these differences, their change "
        "with half the step. A state is not smooth where a contact, constraint, clamp, muscle or wrapping tendon "
        "switches between the points of the differences.",
        f"Clean: a step within {parity_errors.STEP_LIMIT:g} and a Jacobian within {parity_errors.JACOBIAN_LIMIT:g}. "
        "Within C's scatter: no unexplained error of a step, and a Jacobian within "
        f"{parity_errors.SCATTERED:g} times the noise.",
        table(
            "folder | model | nq: | nv: | na: | nu: | step: | median: | unexplained: | Jacobian: | noise: | "
            "smooth states: | verdict",
            [row.cells for row in measured],
        ),
        "## Refused",
        table("feature | models:", causes.most_common()) if causes else "None.",
        table("folder | model | for", refused) if refused else "",
        "## Not measured" if failed else "",
        table("folder | model | because", failed) if failed else "",
    )
    (options.output / "parity.md").write_text(text)
    write_rows(rows, options.output / "parity.csv", "{:.3g}".format)


def named(text: str) -> tuple[str, str]:
    """The two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text}")
    return name, value


def parser() -> argparse.ArgumentParser:
    """Options of the program."""
    result = make_parser("robots", __doc__)
    result.prog = "python -m benchmarks.parity"
    add = result.add_argument
    add("folders", nargs="+", type=named, metavar="NAME=FOLDER", help="folders of MJCF files, and their names")
    add("--source", nargs="*", type=named, default=[], metavar="NAME=TEXT", help="where a folder's models are from")
    add("--states", type=positive(int), default=64, help="visited states of each model, default 64")
    return result


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints and saves after each model."""
    options = parse(parser(), arguments)
    options.folders, options.source = dict(options.folders), dict(options.source)
    rows = []
    for folder, place in options.folders.items():
        for path in sorted(Path(place).glob("*.xml")):
            rows.append(measure(folder, path, options.states))
            print(*rows[-1].cells, rows[-1].refused or rows[-1].failed, sep=" | ", flush=True)
            save(rows, options)


if __name__ == "__main__":
    mujoco.set_mju_user_warning(lambda message: None)
    main()
