"""How far contacts of every pair of kinds of geoms, and their gradients, are from C MuJoCo's.

Each pair has states of three sorts, in which the geoms are from 2 mm apart to 10 mm in each other: turned at random;
standing on each other, tilted by a thousandth at most; and turned at random with a margin of 10 mm.

* "same" is the share of states with as many contacts as in C MuJoCo, each within the tolerance of one of ours.
* "median" and "largest" are of the distance of a contact of C MuJoCo from the nearest of ours, in those of these states
  that have as many contacts: the largest difference of depth (m), position (m) and axes.
* "gradient" is the relative error of the gradient of all contacts beside central differences of C MuJoCo, at the smooth
  states: median, and the value that 90 % are below. A state is smooth if the differences with half the step are the
  same within 2 %.

    python -m benchmarks.collisions
"""

from __future__ import annotations

import os

os.environ["DIFFSIM_X64"] = "1"  # read when diffsim is imported

import argparse  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from itertools import combinations_with_replacement  # noqa: E402

import mujoco  # noqa: E402
import numpy as np  # noqa: E402

from benchmarks.command import arguments_of, make_parser, page, paragraphs, parse, positive, table  # noqa: E402
from benchmarks.runs import write_rows  # noqa: E402
from tests.diffsim.convex_pairs import (  # noqa: E402
    TIGHT,
    Touching,
    differences,
    directional,
    found,
    reference,
    touching,
)
from tests.diffsim.engine import tensors  # noqa: E402

KINDS = ("plane", "field", "sphere", "capsule", "ellipsoid", "cylinder", "box", "rock")
TITLES = {"field": "height field", "rock": "mesh"}
ROUND = {"ellipsoid", "cylinder"}  # searched until a tolerance
SORTS = {"random": (False, 0.0), "standing": (True, 0.0), "margin": (False, 0.01)}
EXACT, WITH_MARGIN, ROUNDED, SOLVED = 1e-9, 1e-7, 1e-8, 1e-6
"""Tolerances of the differences of contacts: of polytopes; with a margin; of curved shapes; of `SOLVED_PAIR`."""
SOLVED_PAIR = ("capsule", "cylinder")
"""We solve it to rounding, where MuJoCo searches."""
SMOOTH = 0.02
"""Largest relative change of the differences with half the step, at a smooth state."""
EXACT_STEP, ROUND_STEP = 1e-6, 5e-4
"""Of the central differences. The search of curved shapes ends within 1e-7 m, so these need a longer step."""
FIXED_PAIRS = {("plane", "plane"), ("plane", "field"), ("field", "field")}
HEADER = "pair | states | same: | median: | largest: | gradient, median: | 90 %: | smooth:"
NOTES = """\
Where a pair is not at 1.00, rounding decides in both simulators: which of several equal corners of a face are kept (a
box or a mesh on the cap of a cylinder), the last steps of a capsule towards an ellipsoid, and where the expansion of a
polytope on a height field ends. There C MuJoCo itself jumps between the same two values when a box moves by 1e-9.

On a height field, C MuJoCo's expansion ends where a vertex of the other geom comes up again, also before it has
converged. The contact of an ellipsoid or a cylinder then moves in steps. This is the likely cause of the 90 % there."""


@dataclass(frozen=True)
class Row:
    """Errors of a pair in states of one sort."""

    pair: str
    states: str
    count: int
    same: float
    median: float
    largest: float
    gradient_median: float
    gradient_90: float
    smooth: int

    @property
    def cells(self) -> list[str]:
        """A line of the table."""
        errors = (self.median, self.largest, self.gradient_median, self.gradient_90)
        numbers = ["-" if np.isnan(error) else f"{error:.0e}" for error in errors]
        return [self.pair, self.states, f"{self.same:.2f}", *numbers, str(self.smooth)]


def pairs() -> Iterator[tuple[str, str]]:
    """Every pair of kinds that C MuJoCo collides."""
    return (pair for pair in combinations_with_replacement(KINDS, 2) if pair not in FIXED_PAIRS)


def curved(pair: tuple[str, str]) -> bool:
    """Whether C MuJoCo searches the pair's contacts until a tolerance."""
    searched = bool(ROUND & set(pair)) and not set(pair) & {"plane"}
    return searched and set(pair) not in ({"sphere", "cylinder"},)


def measure(pair: tuple[str, str], sort: str, count: int) -> Row:
    """Compares the contacts of a pair."""
    name = "–".join(TITLES.get(kind, kind) for kind in pair)
    return Row(name, sort, count, *parity(pair, sort, count), *gradient(pair, sort, count))


def case_of(pair: tuple[str, str], sort: str, count: int, option: str) -> Touching:
    """The states of a line of the table."""
    flat, margin = SORTS[sort]
    return touching(*pair, count, flat=flat, margin=margin, option=option)


def parity(pair: tuple[str, str], sort: str, count: int) -> tuple[float, float, float]:
    """Share of states with the same contacts, and the median and largest difference of a contact."""
    solved = pair == SOLVED_PAIR
    rounded = curved(pair) and not solved
    case = case_of(pair, sort, count, "" if rounded else TIGHT)
    tolerance = SOLVED if solved else ROUNDED if rounded else WITH_MARGIN if SORTS[sort][1] else EXACT
    numbers, contacts = found(case.model, *tensors(case.qpos))
    ours, data = contacts.numpy(), mujoco.MjData(case.model)
    same: list[bool] = []
    errors: list[float] = []
    for i, qpos in enumerate(case.qpos):
        expected = reference(case.model, data, qpos)
        equal = len(expected) == numbers[i]
        rows = [float(np.abs(ours[i, : numbers[i]] - contact).max(axis=1).min()) for contact in expected if equal]
        same.append(equal and max(rows, default=0.0) <= tolerance)
        errors += rows
    errors = errors or [np.nan]
    return float(np.mean(same)), float(np.median(errors)), max(errors)


def gradient(pair: tuple[str, str], sort: str, count: int) -> tuple[float, float, int]:
    """Median and 90 % quantile of the relative error of the gradient, and the number of smooth states."""
    case = case_of(pair, sort, count, TIGHT)
    ours = found(case.model, *tensors(case.qpos))[1].numpy()
    weights = np.random.default_rng(1).normal(size=ours.shape)
    actual = directional(case.model, case.qpos, weights)
    step = ROUND_STEP if curved(pair) else EXACT_STEP
    expected, half = (differences(case.model, case.qpos, weights, ours, eps) for eps in (step, step / 2))
    scale = np.abs(expected).max(axis=1)
    smooth = np.abs(expected - half).max(axis=1) <= SMOOTH * scale  # False where one is NaN
    errors = np.abs(actual - expected)[smooth].max(axis=1) / scale[smooth]
    errors = errors if len(errors) else np.array([np.nan])
    return float(np.median(errors)), float(np.quantile(errors, 0.9)), int(smooth.sum())


def save(rows: list[Row], options: argparse.Namespace) -> None:
    """Writes collisions.md and collisions.csv."""
    first, *others = paragraphs(__doc__)
    limits = (
        f"{options.states} states a line, in float64. Polytopes, spheres and capsules are searched with `{TIGHT}` in "
        "both simulators. Pairs with an ellipsoid, or with a cylinder that is searched, keep MuJoCo's own tolerance of "
        "1e-6, where both take the same steps; their gradients are of the search with the lower tolerance. Tolerance "
        f'of "same": {EXACT:g}; {WITH_MARGIN:g} with a margin, where rounded shapes are searched; {ROUNDED:g} for '
        f"curved shapes; {SOLVED:g} for capsule and cylinder, which are solved to rounding here, and searched with the "
        f"lower tolerance by C MuJoCo. Step of the central differences: {EXACT_STEP:g}; for curved shapes "
        f"{ROUND_STEP:g}, which are exact to about 1e-3."
    )
    text = page(
        "Contacts of every pair of geoms",
        f"collisions {arguments_of(options, 'states')}",
        "\n\n".join([first, *others[:-1]]),
        limits,
        table(HEADER, (row.cells for row in rows)),
        NOTES,
    )
    (options.output / "collisions.md").write_text(text)
    write_rows(rows, options.output / "collisions.csv")


def main(arguments: list[str] | None = None) -> None:
    """Measures every pair; writes the page after each."""
    parser = make_parser("collisions", __doc__)
    parser.add_argument("--states", type=positive(int), default=100, help="states of each sort")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="pairs of these kinds alone")
    options = parse(parser, arguments)
    rows: list[Row] = []
    for pair in pairs():
        if set(pair) <= set(options.only):
            rows += [measure(pair, sort, options.states) for sort in SORTS]
            print(*(" ".join(row.cells) for row in rows[-len(SORTS) :]), sep="\n", flush=True)
            save(rows, options)


if __name__ == "__main__":
    main()
