"""`diffsim report`: the report of a comparison, finished or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from diffsim.trainers.compare import tables
from diffsim.trainers.compare.comparison import Run
from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison
from diffsim.trainers.compare.measures import LEAST_SEEDS
from diffsim.trainers.compare.page import Block, Code, Grid, Heading, Pictures, Text, html, markdown
from diffsim.trainers.compare.pictures import (
    by_task,
    draw_curves,
    draw_gradients,
    draw_profiles,
    draw_scores,
    draw_summary,
    overall,
)
from diffsim.trainers.compare.published_report import published_blocks
from diffsim.trainers.compare.references import Reference, matching, read_references
from diffsim.trainers.compare.results import Results, load
from diffsim.trainers.errors import UsageError
from diffsim.trainers.run.parsing import make_parser, parse

HISTORY = "history.txt"


def report_command(argv: Sequence[str], console: Console) -> None:
    """Writes the report of the comparison that `argv` names, and prints its path."""
    parser = make_parser("report", "Write the report of a comparison from the runs that exist.")
    parser.add_argument("dir", metavar="DIR", help="Folder of the comparison.")
    page = write_report(Path(parse(parser, argv).dir))
    console.print(f"report: {page}", soft_wrap=True, markup=False, highlight=False)


def write_report(output: Path) -> Path:
    """Writes report/index.html, report.md and their pictures into the folder of a comparison, and returns the page.

    Raises: UsageError if it is not the folder of a comparison, or its file has faults.
    """
    comparison = read_comparison(find_comparison(output), output)
    if comparison.faults:
        raise UsageError(f"the comparison in {str(output)!r} must have no faults, got {'; '.join(comparison.faults)}")
    folder = output / "report"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    results = Results(comparison, load(comparison))
    references, sources = read_references(comparison.references)
    title = f"Comparison {output.name}"
    blocks: list[Block] = [Heading(title, 1), Text(summary(results)), *all_tasks_blocks(results, folder)]
    if comparison.published is not None:
        blocks += published_blocks(results, comparison.published)
    shown: list[Reference] = []
    for task in results.tasks:
        budgets = {result.run.algorithm: result.run.env_steps for result in results.all if result.run.task == task}
        found = matching(references, task, budgets)
        shown += found
        blocks += task_blocks(results, task, found, folder)
    blocks += [Heading("Protocol"), *map(Text, protocol(results))]
    blocks += [Text(f"Published: {source_words(sources[name])}.") for name in dict.fromkeys(r.source for r in shown)]
    blocks += [Heading("Machine and runs"), *machines(results, output), tables.run_table(results, folder)]
    blocks += [Heading("Options"), Text(OPTIONS), *configs(results)]
    (folder / "report.md").write_text(markdown([block for block in blocks if not isinstance(block, Code)]))
    page = folder / "index.html"
    page.write_text(html(title, blocks))
    return page


OPTIONS = "All options of every task and algorithm, from config.yaml in the run's folder. Seeds have the same options."


def summary(results: Results) -> str:
    """One sentence: algorithms, tasks, seeds and the states of the runs."""
    states = Counter(result.state for result in results.all)
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    names = f"{len(results.labels)} algorithms on {', '.join(results.tasks)}, seeds "
    seeds = ", ".join(map(str, results.comparison.seeds))
    return f"{names}{seeds}: {len(results.all)} runs, {counts}. {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."


def all_tasks_blocks(results: Results, folder: Path) -> list[Block]:
    """Pictures and tables of scores combined over all tasks."""
    rows = overall(results)
    if not rows:
        return [Text("Scores are combined over tasks once an algorithm has finished runs on all of them.")]
    panels = [(task, "official return", by_task(results, task)) for task in results.tasks]
    draw_summary([("All tasks", "score", rows), *panels], folder / "summary.png")
    axis, area = axis_words(results), overall(results, "area")
    draw_scores(rows, "All tasks: final score", axis, folder / "scores.png")
    draw_scores(area, "All tasks: area under the learning curve", axis, folder / "areas.png")
    pictures = [(folder / "scores.png", "final scores of all tasks"), (folder / "areas.png", "areas of all tasks")]
    complete = results.complete()
    for family, labels in results.families().items() if results.enough_seeds() else ():
        shown = [label for label in labels if label in complete]
        if shown:
            path = folder / f"profile-{slug(family)}.png"
            draw_profiles(results, shown, f"Performance profile: {family}", path)
            pictures.append((path, f"performance profiles: {family}"))
    ranges = "; ".join(
        f"{task} {low:,.6g} and {high:,.6g}" for task in results.tasks for low, high in [results.score_range(task)]
    )
    missing = [label for label in results.labels if label not in complete]
    words = f"A score is a normalised return; the returns of scores 0 and 1 are: {ranges}. "
    words += "Points are interquartile means over all runs of all tasks"
    if results.enough_seeds():
        words += "; bars are 95% intervals by a stratified bootstrap over the seeds of each task. "
    else:
        words += f". Intervals and performance profiles need {LEAST_SEEDS} seeds, and are not shown. "
    words += unequal_budgets(results)
    if missing:
        words += f" Without a finished run on every task, and therefore not shown: {', '.join(missing)}."
    combined = tables.overall_table(results), tables.improvement_table(results)
    return [Heading("All tasks"), Text(words), Pictures(pictures), *combined]


def unequal_budgets(results: Results) -> str:
    """A warning with the budgets of each task, if they differ; empty otherwise."""
    words = []
    for task in results.tasks:
        budgets = results.budgets(task)
        if len(set(budgets.values())) > 1:
            listed = ", ".join(f"{label} {budget:,}" for label, budget in sorted(budgets.items(), key=lambda b: -b[1]))
            words.append(f"{task}: {listed}")
    if not words:
        return ""
    return f"Budgets differ, so that a rank does not compare equal experience. Env steps on {'; on '.join(words)}."


def task_blocks(results: Results, task: str, references: list[Reference], folder: Path) -> list[Block]:
    """Learning curves and tables of one task."""
    blocks: list[Block] = [Heading(task)]
    rows = by_task(results, task)
    pictures: list[tuple[Path, str]] = []
    if rows:
        path = folder / f"scores-{slug(task)}.png"
        draw_scores(rows, task, f"official return: {axis_words(results)}", path)
        pictures.append((path, f"{task}: final returns"))
    gradients = folder / f"gradients-{slug(task)}.png"
    if draw_gradients(results, task, gradients):
        pictures.append((gradients, f"{task}: gradient norms"))
    blocks += [tables.score_table(results, task, references), Pictures(pictures)]
    for against, words in (("env_steps", "env steps"), ("seconds", "seconds of training")):
        run_here = [label for label in results.labels if results.of(task, label)]
        path = folder / f"curves-{slug(task)}-{slug(words)}.png"
        draw_curves(results, task, results.labels, against, references, path, task)
        pictures = [(path, f"{task}: official return against {words}")]
        families = {name: labels for name, labels in results.families().items() if set(labels) & set(run_here)}
        for family, labels in families.items() if len(families) > 1 else ():
            path = folder / f"curves-{slug(task)}-{slug(family)}-{slug(words)}.png"
            draw_curves(results, task, labels, against, references, path, f"{task}: {family}")
            pictures.append((path, f"{task}, {family}: official return against {words}"))
        blocks += [Heading(f"{task}, against {words}", 3), Pictures(pictures)]
    blocks += tables.progress_tables(results, task)
    found = tables.threshold_table(results, task), tables.gradient_table(results, task)
    return blocks + [grid for grid in found if grid is not None]


def axis_words(results: Results) -> str:
    """What points and bars of scores are."""
    return f"interquartile mean{', 95% interval' if results.enough_seeds() else ''}"


def protocol(results: Results) -> list[str]:
    """Paragraphs that describe the evaluation protocol."""
    options = [result.run.options for result in results.all]
    during = _listed(option.get("evaluate_episodes", 3) for option in options)
    final = _listed(option.get("final_episodes", 10) for option in options)
    every = _listed(option.get("evaluate_every_steps", 0) for option in options)
    return [
        "Every policy is evaluated in the official Gymnasium environment (C MuJoCo), also if it was trained in another "
        f"one: before training, and after the first iteration that reaches each multiple of {every} env steps (as set "
        f"for the task and algorithm). An evaluation is the undiscounted return of {during} whole episodes, with the "
        "same reset seeds every time. Env steps count training only, of all copies; for learned models, real steps.",
        "Lines: mean over the seeds of the mean over these episodes, with mean actions. Bands: lowest to highest seed. "
        "Dotted: the same with sampled actions. A deterministic policy has one line only, without exploration noise. "
        "A planner plans every action.",
        f"Final return: of the policy at the end of training, not of the best one, over {final} other episodes, with "
        "reset seeds that training does not use: per seed the mean over the episodes, then mean ± population standard "
        "deviation over the seeds. Sampled actions: the same episodes with sampled actions. Area under curve: mean of "
        "the linearly interpolated evaluations, over env steps from 0 to the budget.",
        "Seconds are wall-clock seconds of training, without evaluations, on a machine that ran other runs at the same "
        "time: a run alone may be faster.",
        "Probability of improvement: fraction of pairs of runs in which the first is better, ties count half, averaged "
        "over tasks. Performance profile: fraction of runs above a score, averaged over tasks. Intervals resample the "
        "seeds of each task 2,000 times; with few seeds they are rough, and too narrow rather than too wide. "
        "Fewer than three seeds have none.",
    ]


def source_words(source: dict[str, object]) -> str:
    """Title, place, seeds and protocol of a source."""
    words = " ".join(str(source["protocol"]).split())
    return f"{source['title']} ({source['where']}; {source['seeds']} seeds), {words}"


def machines(results: Results, output: Path) -> list[Block]:
    """The machines of the runs, and when the comparison was started."""
    lines: dict[str, int] = {}
    for result in results.all:
        path = result.run.folder.machine
        for line in path.read_text().splitlines() if path.exists() else []:
            lines[line] = lines.get(line, 0) + 1
    blocks: list[Block] = [Text(f"{line}: {count} runs.") for line, count in lines.items()]
    history = output / HISTORY
    if history.exists():
        rows = [line.split("\t") for line in history.read_text().splitlines()]
        blocks.append(Grid("Started", ["when", "how", "finished before"], rows, words=1))
    return blocks


def configs(results: Results) -> list[Block]:
    """The options of every task and algorithm."""
    first: dict[tuple[str, str], Run] = {}
    for result in results.all:
        if result.run.folder.config.exists():
            first.setdefault(result.run.cell, result.run)
    cells = [cell for task in results.tasks for label in results.labels if (cell := (task, label)) in first]
    return [Code(f"{task}, {label}", first[task, label].folder.config.read_text()) for task, label in cells]


def slug(words: str) -> str:
    """Text as part of a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in words.lower())


def _listed(values: object) -> str:
    found = sorted(set(values))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return " or ".join(f"{value:,}" for value in found)
