"""`diffsim gradients`: runs the experiment and writes tables, a CSV file and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from diffsim.mdp import MDP
from diffsim.policies import GaussianMLP
from diffsim.trainers.gradients.experiment import Experiment, Row, total_ticks
from diffsim.trainers.gradients.options import GradientOptions, build
from diffsim.trainers.gradients.report import Results, draw, grids, rich_table, verdicts, winners, write_csv
from diffsim.trainers.run.parsing import make_parser, parse
from diffsim.trainers.run.run_folder import RunFolder


def gradients(argv: Sequence[str], console: Console) -> None:
    """Measures all estimators, prints tables, and writes gradients.csv and gradients.png into a new folder.

    Raises: OptionError before the measurement if an option is wrong; NonFiniteError from a roll-out or a gradient.
    """
    description = "Compare estimators of the policy gradient: variance, bias, cosine and cost, by horizon."
    parser = make_parser("gradients", description)
    parser.add_class_arguments(GradientOptions)
    options = GradientOptions(**parse(parser, argv).as_dict())
    mdp, policies = build(options)
    folder = RunFolder.fresh(options.folder).path
    results = measure(options, mdp, policies, console)
    write_csv(results, folder / "gradients.csv")
    draw(results, describe(options), folder / "gradients.png")
    wide = Console(file=console.file, width=max(console.width, 110))  # a truncated table is of no use
    for grid in (*grids(results), winners(results)):
        wide.print(rich_table(grid))
    files = [f"table    {folder / 'gradients.csv'}", f"picture  {folder / 'gradients.png'}"]
    console.print("\n".join([*verdicts(results), "", *files]), soft_wrap=True, markup=False, highlight=False)


def measure(options: GradientOptions, mdp: MDP, policies: dict[int, GaussianMLP], console: Console) -> Results:
    """Runs the experiment for every seed and horizon, with a progress bar."""
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    ticks = total_ticks(options.horizon_list, options.samples, options.reference_samples, options.num_envs)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("compiling kernels ...", total=ticks * len(policies))
        for seed, policy in policies.items():
            torch.manual_seed(seed)  # for the initial weights of the values
            generator = torch.Generator(mdp.device).manual_seed(seed)
            counts = options.samples, options.reference_samples
            settings = options.gamma, options.window, options.difference_step, *counts
            tick = partial(progress.advance, bar)
            experiment = Experiment(mdp, policy, *settings, generator, tick)
            for horizon in options.horizon_list:
                progress.update(bar, description=f"seed {seed}, horizon {horizon}")
                rows.extend(experiment.run(horizon, seed))
    return Results(rows, options.num_envs, options.window)


def describe(options: GradientOptions) -> str:
    """One line that describes the experiment."""
    noise = f", process noise {options.process_noise}" if options.process_noise else ""
    policy = "random policy" if options.policy == "random" else f"policy of {options.policy}"
    return f"{options.task}, {policy}{noise}, gamma {options.gamma}, seeds {options.seeds}"
