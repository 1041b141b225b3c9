"""`diffsim model-report`: a page with figures about a learned model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from rich.console import Console

import diffsim
from diffsim.mdp import MDP
from diffsim.models import Data, LearnedMDP, WorldModel
from diffsim.policies import GaussianMLP, Policy
from diffsim.tasks import find_task
from diffsim.trainers.compare.page import Block, Grid, Heading, Pictures, Text, markdown
from diffsim.trainers.errors import option_errors
from diffsim.trainers.examine.diagnostics import (
    Alignment,
    Calibration,
    Growth,
    calibration,
    doubling,
    elite_predictions,
    gradient_alignment,
    open_loop,
)
from diffsim.trainers.examine.examined_model import ExaminedModel, find_examined_model
from diffsim.trainers.experience.mdp_wrappers import ObservedReward
from diffsim.trainers.options import check_fields
from diffsim.trainers.run.arguments import resolved
from diffsim.trainers.run.collect_command import trained_policy
from diffsim.trainers.run.parsing import make_parser, parse

WINDOWS = 512
FLAT = """The simulator's reward is flat: it is the same for all actions, so its policy gradient is zero and has no \
direction to compare. A model with a known reward that is not flat can be compared, for InvertedPendulum-v5 one of \
`diffsim fit-model --reward InvertedPendulum-v5/upright`."""
TOLERANCE = 0.05
"""Mean difference of coverages up to which a model is called calibrated."""
POINTS = 500
"""Largest number of points in a scatter plot."""
ALIGNMENT = """Same policy, start states and action noise, and the same reward if the model's is a known function; nan \
where the simulator's reward has no gradient. The floor is the cosine between the gradients of two halves of the \
simulator's roll-outs: the effect of sampling."""


@dataclass(frozen=True)
class ReportOptions:
    """Options of `diffsim model-report`.

    Args:
        run: folder of a run of `diffsim fit-model`, or of `diffsim fit` with ModelBased, MBPO or PETS.
        data: folder of data to examine the model on; the validation data of the run if None.
        policy: policy whose gradient is compared: "random" for a GaussianMLP with random weights, or the folder of a
            run. If None, the run's own policy, or random if it has none.
        horizons: longest open-loop prediction, and longest roll-out for gradients, at least 1.
        num_envs: roll-outs per gradient, at least 2.
        gamma: discount, in (0, 1].
        seed: seed of the policy, initial states and noises, at least 0.
    """

    run: str
    data: str | None = None
    policy: str | None = None
    horizons: int = 32
    num_envs: int = 256
    gamma: float = 0.99
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self, {"horizons": ">= 1", "num_envs": ">= 2", "seed": ">= 0", "gamma": "in (0, 1]"})


def model_report(argv: Sequence[str], console: Console) -> str:
    """Examines a model, and writes model_report.md and its figures to the folder of its run. Returns the page.

    Raises: OptionError, CheckpointError or DataError, before any work, if there is no model to examine.
    """
    parser = make_parser(
        "model-report", "Examine a model: prediction errors, calibration, and policy gradients.", config=True
    )
    parser.add_argument("run", metavar="RUN", help="Folder of the run.")
    parser.add_class_arguments(ReportOptions, skip={"run"})
    options = ReportOptions(**resolved(parse(parser, argv)))
    generator = torch.Generator().manual_seed(options.seed)
    with option_errors():
        examined = find_examined_model(options.run, options.data)
        growth = open_loop(examined.model, examined.validation, options.horizons, WINDOWS, generator)
        calibrated = calibration(examined.model, examined.validation)
        alignment = align(examined, options, generator)
    folder = examined.folder.path
    draw_growth(growth, f"{folder}/model_errors.png")
    draw_scatter(examined.model, examined.validation, f"{folder}/model_scatter.png")
    if calibrated is not None:
        draw_calibration(calibrated, f"{folder}/model_calibration.png")
    if alignment is not None and not alignment.flat:
        draw_alignment(alignment, f"{folder}/model_gradients.png")
    page = write_page(examined, growth, calibrated, alignment)
    (folder / "model_report.md").write_text(page)
    console.print(page, soft_wrap=True, markup=False, highlight=False)
    console.print(f"report  {folder / 'model_report.md'}", soft_wrap=True, markup=False, highlight=False)
    return page


def align(examined: ExaminedModel, options: ReportOptions, generator: torch.Generator) -> Alignment | None:
    """Compares the policy gradients through model and simulator. None if there is no simulator of the task.

    Raises: OptionError if there is no such policy; ValueError if the model has other sizes than the task.
    """
    stored = examined.stored
    if not stored.task or find_task(stored.task) is None:
        return None
    spaces = stored.observation_space, stored.action_space
    policy: Policy | None = examined.policy if options.policy is None else None
    if policy is None and options.policy not in (None, "random"):
        policy = trained_policy(str(options.policy), *spaces)
    if policy is None:
        torch.manual_seed(options.seed)
        policy = GaussianMLP(*spaces, out_scale=1.0)
    policy = policy.to(examined.model.dynamics.in_mean)
    mdp: MDP = diffsim.make(stored.task, num_envs=options.num_envs, **stored.task_kwargs)
    if examined.model.known_reward is not None:  # take both gradients of the reward used in training
        mdp = ObservedReward(mdp, examined.model.known_reward)
    count, steps = options.num_envs, mdp.max_episode_steps
    learned = LearnedMDP(examined.model, examined.validation, *spaces, num_envs=count, max_episode_steps=steps)
    return gradient_alignment(mdp, learned, policy, doubling(options.horizons), options.gamma, generator)


def draw_growth(growth: Growth, path: str) -> None:
    """Plots the open-loop error against the horizon."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = range(1, len(growth.error) + 1)
    axes.fill_between(steps, growth.low.tolist(), growth.high.tolist(), alpha=0.3, label="elites, lowest to highest")
    axes.plot(steps, growth.error.tolist(), label="mean of the elites")
    axes.plot(steps, growth.no_change.tolist(), linestyle="--", color="gray", label="no change")
    axes.set(xlabel="steps predicted open-loop", ylabel="rms error / standard deviation", yscale="log")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def draw_calibration(found: Calibration, path: str) -> None:
    """Plots measured against nominal coverage."""
    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="gray", linestyle="--")
    for i, coverage in enumerate(found.coverage.T.tolist()):
        axes.plot(found.level.tolist(), coverage, marker="o", markersize=3, label=f"obs[{i}]")
    axes.set(xlabel="nominal coverage", ylabel="measured coverage", xlim=(0, 1), ylim=(0, 1))
    if found.coverage.shape[1] <= 12:
        axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def draw_scatter(model: WorldModel, data: Data, path: str) -> None:
    """Plots predicted against true change of each observed number."""
    some = torch.linspace(0, len(data) - 1, min(POINTS, len(data))).long().unique()
    mean, _ = elite_predictions(model, data)
    predicted, true = (mean.mean(0) - data.obs)[some], (data.next_obs - data.obs)[some]
    columns = min(model.obs_size, 4)
    rows = -(-model.obs_size // columns)
    figure = Figure(figsize=(3 * columns, 3 * rows), layout="constrained")
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat[: model.obs_size]):
        axes.scatter(true[:, i].tolist(), predicted[:, i].tolist(), s=4)
        axes.axline((0.0, 0.0), slope=1.0, color="gray", linestyle="--")
        axes.set_title(f"change of obs[{i}]", fontsize="small")
        axes.set_xlabel("true", fontsize="small")
        axes.set_ylabel("predicted", fontsize="small")
    figure.savefig(path, dpi=120)


def draw_alignment(found: Alignment, path: str) -> None:
    """Plots the cosine of the two gradients against the horizon."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.horizon, found.cosine, marker="o", label="model and simulator")
    axes.plot(found.horizon, found.floor, linestyle="--", color="gray", label="two halves, simulator only")
    axes.set(xlabel="horizon", ylabel="cosine of the policy gradients", xscale="log", ylim=(-1.05, 1.05))
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def write_page(
    examined: ExaminedModel, growth: Growth, calibrated: Calibration | None, alignment: Alignment | None
) -> str:
    """The page, in Markdown."""
    elites = f"elites {examined.model.elites.tolist()}"
    blocks: list[Block] = [
        Heading(f"Model of {examined.stored.task or 'unnamed data'}", 1),
        Text(f"{len(examined.validation):,} validation transitions; {elites} of {examined.model.num_members} members."),
        Heading("Open-loop error"),
        *growth_blocks(growth),
        Heading("One step"),
        figure_block("model_scatter.png", "Predicted against true"),
        Heading("Calibration"),
        *calibration_blocks(calibrated),
        Heading("The policy gradient through the model and through the simulator"),
        *alignment_blocks(alignment),
    ]
    return markdown(blocks)


def figure_block(name: str, words: str) -> Block:
    """One figure beside the page."""
    return Pictures([(Path(name), words)])


def lines(numbers: Mapping[str, Iterable[Any]], form: str) -> list[list[str]]:
    """Rows of a table: their names, and their numbers formatted by `form`."""
    return [[name, *(format(float(number), form) for number in row)] for name, row in numbers.items()]


def growth_blocks(growth: Growth) -> list[Block]:
    """The section on open-loop errors."""
    steps = doubling(len(growth.error))
    names = ("mean of the elites", "best elite", "worst elite", "no change")
    curves = {name: curve[torch.tensor(steps) - 1] for name, curve in zip(names, growth[:4], strict=True)}
    return [
        Text(f"Rms error over {growth.windows} windows, in standard deviations of the observations."),
        Grid("", ["steps", *map(str, steps)], lines(curves, ".2e")),
        figure_block("model_errors.png", "Open-loop error"),
    ]


def calibration_blocks(calibrated: Calibration | None) -> list[Block]:
    """The section on calibration."""
    if calibrated is None:
        return [Text("The dynamics have no noise, so there is nothing to calibrate.")]
    chosen = [i for i, level in enumerate(calibrated.level.tolist()) if round(level, 2) in (0.5, 0.8, 0.9, 0.95)]
    nominal, measured = calibrated.level[chosen], calibrated.coverage.mean(1)[chosen]
    header = lines({"nominal coverage": nominal}, ".2f")[0]
    likelihood = f"Negative log-likelihood {calibrated.nll:.4f} nats per step"
    return [
        Text(f"{likelihood}; expected calibration error {calibrated.expected_error:.4f}. {verdict(calibrated)}"),
        Grid("", header, lines({"measured, mean over dimensions": measured}, ".3f")),
        figure_block("model_calibration.png", "Calibration"),
    ]


def verdict(calibrated: Calibration) -> str:
    """Whether the intervals are too wide or too narrow, by the mean of measured minus nominal coverage."""
    excess = float((calibrated.coverage - calibrated.level[:, None]).mean())
    if abs(excess) <= TOLERANCE:
        return f"The model is calibrated: on average, coverage differs from nominal by {excess:+.2f}."
    words = "underconfident: its intervals are wider" if excess > 0 else "overconfident: its intervals are narrower"
    return f"The model is {words} than its errors; on average, coverage differs from nominal by {excess:+.2f}."


def alignment_blocks(found: Alignment | None) -> list[Block]:
    """The section on policy gradients."""
    if found is None:
        return [Text("There is no simulator of this task to compare with.")]
    if found.flat:
        return [Text(FLAT)]
    cosines, ratio = {"cosine": found.cosine, "floor": found.floor}, {"norm, model / simulator": found.ratio}
    return [
        Text(ALIGNMENT),
        Grid("", ["horizon", *map(str, found.horizon)], lines(cosines, ".3f") + lines(ratio, ".3g")),
        figure_block("model_gradients.png", "Gradients"),
    ]
