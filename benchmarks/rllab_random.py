"""Returns of random actions on rllab's tasks, beside those that Duan et al. (2016) publish as "Random".

Actions are uniform in [-1, 1], as those of rllab's `UniformControlPolicy`. In rllab's Box2D model of cart-pole as it
was when the paper appeared (commit 450f0f7) they give 76.9 +- 0.1, and normal actions of an untrained policy give 69.0
+- 0.6; published is 77.1. Episodes end at the task's ends or its time limit, 500 steps, and 100 where observation is
partial. Rows, tasks and published numbers are those of `diffsim compare duan2016`.

    python -m benchmarks.rllab_random                                  # all 28 rows
    python -m benchmarks.rllab_random --rows "Mountain Car" --episodes 2000
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

import diffsim
from benchmarks.command import arguments_of, make_parser, page, paragraphs, parse, positive, table
from benchmarks.runs import CONFIGS

TABLE = CONFIGS / "compare" / "duan2016"
CART_START = "the first step of Box2D turns the pole, which a reset leaves apart from the cart"
WEAKER = "the published return fits a far weaker torque: 3 N m in place of 50 gives -1922 and -395 in Box2D"
NOTES = {
    "RllabCartPole-v0": "77.1 needs rllab's model of April 2016; that of June, with another track, gives 65.6 in Box2D",
    "RllabCartPoleSwingUp-v0": CART_START,
    "RllabMountainCar-v0": "the drag is chosen for this number",
    "RllabAcrobot-v0": WEAKER,
    "RllabDoublePendulum-v0": "155.0 with the inertia that MuJoCo gives capsules today",
    "RllabHopper-v0": "begins at joint limits; 8.3 with softer ones",
    "RllabHalfCheetah-v0": "depends on the softness of contacts: from -82 to -151",
    "RllabAntGather-v0": "the published five runs spread by 5.0",
}
"""Why a return is as it is, by task."""
PENDULUMS = list(NOTES)[:5]
"""Tasks with ten times more episodes."""


@dataclass(frozen=True)
class Case:
    """A row of the table.

    Attributes:
        name: of the row.
        task: id.
        options: of `diffsim.make`.
        published: mean ± deviation over seeds.
    """

    name: str
    task: str
    options: dict[str, Any]
    published: str


def find_cases() -> list[Case]:
    """The rows of the published table."""
    with TABLE.with_suffix(".csv").open() as file:
        published = {row["Task"]: row["Random"] for row in csv.DictReader(file)}
    rows = yaml.safe_load(TABLE.with_suffix(".yaml").read_text())["tasks"]
    options = {name: row.get("options", {}).get("task_kwargs", {}) for name, row in rows.items()}
    return [Case(name, rows[name]["task"], options[name], random) for name, random in published.items()]


def uniform(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Uniform actions in [-1, 1)."""
    return 2 * torch.rand(shape, generator=generator, dtype=diffsim.dtype) - 1


def normal(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Actions of an untrained Gaussian policy, which the task clips."""
    return torch.randn(shape, generator=generator, dtype=diffsim.dtype)


ACTIONS = {"uniform": uniform, "normal": normal}


@torch.no_grad()
def random_returns(
    task: str,
    options: dict[str, Any],
    episodes: int,
    seed: int = 0,
    draw: Callable[[tuple[int, int], torch.Generator], Tensor] = uniform,
) -> tuple[Tensor, Tensor]:
    """Undiscounted returns and lengths of episodes with random actions, all at once: [episodes] each.

    Args:
        task: id.
        options: of `diffsim.make`.
        episodes: number of them, >= 1.
        seed: of initial states, actions and noise.
        draw: actions of a shape.
    """
    mdp, generator = diffsim.make(task, num_envs=episodes, **options), torch.Generator().manual_seed(seed)
    state = mdp.initial(generator)
    fresh = state.clone()
    active, total, length = torch.ones(episodes, dtype=torch.bool), torch.zeros(episodes), torch.zeros(episodes)
    size = mdp.action_space.shape[0]
    for _ in range(mdp.max_episode_steps):
        noise = torch.randn(episodes, mdp.noise_size, generator=generator, dtype=mdp.dtype) if mdp.noise_size else None
        action = draw((episodes, size), generator)
        reached = mdp.transition(state, action, noise)
        total += torch.where(active, mdp.reward(state, action, reached), 0).float()
        length += active
        active &= ~mdp.terminal(reached)
        if not active.any():
            break
        state = torch.where(active[:, None], reached, fresh)  # episodes that ended stay within the physics' range
    return total, length


def main(arguments: list[str] | None = None) -> None:
    cases = {case.name: case for case in find_cases()}
    parser = make_parser("rllab_random", __doc__)
    parser.set_defaults(output=parser.get_default("output").with_name("rllab"))
    parser.add_argument(
        "--rows", nargs="+", choices=list(cases), default=list(cases), metavar="ROW", help="default: all"
    )
    parser.add_argument("--episodes", type=positive(int), default=300, help="of each row; of pendulums ten times more")
    parser.add_argument("--actions", choices=list(ACTIONS), default="uniform", help="distribution of the actions")
    options = parse(parser, arguments)
    rows = []
    for name in options.rows:
        case = cases[name]
        episodes = options.episodes * (10 if case.task in PENDULUMS else 1)
        total, length = random_returns(case.task, case.options, episodes, draw=ACTIONS[options.actions])
        error = total.std().item() / episodes**0.5
        published = float(case.published.split(" ± ")[0])
        off = (total.mean().item() - published) / max(abs(published), 1.0)
        numbers = (f"{total.mean():.1f} ± {error:.1f}", case.published, f"{100 * off:+.1f}%", f"{length.mean():.0f}")
        rows.append((name, case.task, *numbers, NOTES.get(case.task, "")))
        print(*rows[-1], sep=" | ", flush=True)
    command = f"rllab_random {arguments_of(options, 'episodes', 'actions')}"
    titles = "row | task | ours: | published: | difference: | steps: | note"
    legend = (
        "Ours: mean and its standard error, without a discount. Published: mean and deviation over five seeds. The "
        "difference is relative to the published mean, or to 1 where that is smaller."
    )
    text = page("Random actions on rllab's tasks", command, *paragraphs(__doc__)[1:2], legend, table(titles, rows))
    Path(options.output / "random.md").write_text(text)


if __name__ == "__main__":
    main()
