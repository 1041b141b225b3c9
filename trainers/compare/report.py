"""`diffsim report`: one page that tells what came of a comparison, finished or not."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from diffsim.trainers.compare.comparison import Run
from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison
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
from diffsim.trainers.compare.references import Reference, matching, read_references
from diffsim.trainers.compare.results import Results, load
from diffsim.trainers.compare.tables import (
    gradient_table,
    improvement_table,
    overall_table,
    progress_tables,
    run_table,
    score_table,
    threshold_table,
)
from diffsim.trainers.errors import UsageError

HISTORY = "history.txt"


def write_report(output: Path) -> Path:
    """Writes report/index.html, report.md and their pictures into the folder of a comparison. Returns the page.

    Raises: UsageError if it is no such folder, or its file has faults.
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
    blocks: list[Block] = [Heading(title, 1), Text(summary(results)), *together(results, folder)]
    shown: list[Reference] = []
    for task in results.tasks:
        budgets = {result.run.algorithm: result.run.env_steps for result in results.all if result.run.task == task}
        found = matching(references, task, budgets)
        shown += found
        blocks += task_blocks(results, task, found, folder)
    blocks += [Heading("Protocol"), *map(Text, protocol(results))]
    blocks += [Text(f"Published: {source_words(sources[name])}.") for name in dict.fromkeys(r.source for r in shown)]
    blocks += [Heading("Machine and runs"), *machines(results, output), run_table(results, folder)]
    blocks += [Heading("Options"), Text(OPTIONS), *configs(results)]
    (folder / "report.md").write_text(markdown([block for block in blocks if not isinstance(block, Code)]))
    page = folder / "index.html"
    page.write_text(html(title, blocks))
    return page


OPTIONS = "Every option of every setting, as its run resolved it; seeds of a setting differ in nothing else. "
OPTIONS += "They are in config.yaml of each run's folder."


def summary(results: Results) -> str:
    """How much of it there is."""
    states = Counter(result.state for result in results.all)
    told = ", ".join(f"{count} {state}" for state, count in states.items())
    names = f"{len(results.labels)} algorithms on {', '.join(results.tasks)}, seeds "
    seeds = ", ".join(map(str, results.comparison.seeds))
    return f"{names}{seeds}: {len(results.all)} runs, {told}. {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."


def together(results: Results, folder: Path) -> list[Block]:
    """All tasks put together."""
    rows = overall(results)
    if not rows:
        return [Text("Tasks are put together once an algorithm has finished runs on all of them.")]
    panels = [(task, "official return", by_task(results, task)) for task in results.tasks]
    draw_summary([("All tasks", "score", rows), *panels], folder / "summary.png")
    draw_scores(rows, "All tasks: final score", "interquartile mean, 95% interval", folder / "scores.png")
    area = overall(results, "area")
    draw_scores(
        area, "All tasks: area under the learning curve", "interquartile mean, 95% interval", folder / "areas.png"
    )
    pictures = [(folder / "scores.png", "final scores of all tasks"), (folder / "areas.png", "areas of all tasks")]
    complete = results.complete()
    for family, labels in results.families().items():
        shown = [label for label in labels if label in complete]
        if shown:
            path = folder / f"profile-{slug(family)}.png"
            draw_profiles(results, shown, f"Performance profile: {family}", path)
            pictures.append((path, f"performance profiles: {family}"))
    ranges = "; ".join(
        f"{task} {low:,.6g} and {high:,.6g}" for task in results.tasks for low, high in [results.score_range(task)]
    )
    missing = [label for label in results.labels if label not in complete]
    words = f"A score is a return on a scale where 0 and 1 are, on {ranges}. "
    words += "The points are interquartile means over all runs of all tasks, the bars 95% intervals by a stratified "
    words += (
        "bootstrap over the seeds of each task. Budgets are those of the tables below, and differ where they say so."
    )
    if missing:
        words += f" Not among them, for want of a finished run on every task: {', '.join(missing)}."
    return [
        Heading("All tasks"),
        Text(words),
        Pictures(pictures),
        overall_table(results),
        improvement_table(results),
    ]


def task_blocks(results: Results, task: str, references: list[Reference], folder: Path) -> list[Block]:
    """Curves and tables of one task."""
    blocks: list[Block] = [Heading(task)]
    rows = by_task(results, task)
    pictures: list[tuple[Path, str]] = []
    if rows:
        path = folder / f"scores-{slug(task)}.png"
        draw_scores(rows, task, "official return: interquartile mean, 95% interval", path)
        pictures.append((path, f"{task}: final returns"))
    gradients = folder / f"gradients-{slug(task)}.png"
    if draw_gradients(results, task, gradients):
        pictures.append((gradients, f"{task}: norms of gradients"))
    blocks += [score_table(results, task, references), Pictures(pictures)]
    for against, words in (("env_steps", "env steps"), ("seconds", "seconds of training")):
        pictures = []
        for family, labels in results.families().items():
            if not any(results.of(task, label) for label in labels):
                continue
            path = folder / f"curves-{slug(task)}-{slug(family)}-{slug(words)}.png"
            draw_curves(results, task, labels, against, references, path, f"{task}: {family}")
            pictures.append((path, f"{task}, {family}: official return against {words}"))
        blocks += [Heading(f"{task}, against {words}", 3), Pictures(pictures)]
    found = [*progress_tables(results, task), threshold_table(results, task), gradient_table(results, task)]
    return blocks + [grid for grid in found if grid is not None]


def protocol(results: Results) -> list[str]:
    """How everything was measured, in words."""
    options = [result.run.options for result in results.all]
    during = _told(option.get("evaluate_episodes", 3) for option in options)
    final = _told(option.get("final_episodes", 10) for option in options)
    every = _told(option.get("evaluate_every_steps", 0) for option in options)
    return [
        "Every policy is judged in the official Gymnasium environment (C MuJoCo), whatever it was trained on: before "
        f"training, and at the first end of an iteration at or after every {every} env steps (of the task and "
        f"algorithm), by the undiscounted return of {during} whole episodes, whose resets have the same seeds every "
        "time. Env steps are those of training, of all copies together; of learned models, real ones.",
        "Lines: mean over the seeds of the mean over these episodes, by mean actions. Bands: lowest to highest seed. "
        "Dotted: the same by sampled actions. A policy without noise of its own has one line only: what exploration "
        "adds in training is not part of it. A planner plans every action.",
        f"Final return: the policy at the end of training, not the best one seen, over {final} other episodes with "
        "resets that training never saw: per seed the mean over the episodes, then mean ± (population) deviation over "
        "the seeds. Sampled actions: the same episodes again. Area under curve: mean over env steps of the evaluations "
        "from 0 to the budget, joined by straight lines.",
        "Seconds are wall-clock seconds of training on one machine, without evaluations, beside as many other runs as "
        "were asked for: they count what a run took there, not what it takes alone.",
        "Probability of improvement: share of pairs of runs in which the first is better, ties half, averaged over "
        "tasks. Performance profile: share of runs above a score, averaged over tasks. Intervals draw 2,000 times from "
        "the seeds of each task; with few seeds they are rough, and too narrow rather than too wide.",
    ]


def source_words(source: dict[str, object]) -> str:
    """What a source is, and how it measured."""
    words = " ".join(str(source["protocol"]).split())
    return f"{source['title']} ({source['where']}; {source['seeds']} seeds), {words}"


def machines(results: Results, output: Path) -> list[Block]:
    """Where it ran, and when it was started."""
    lines: dict[str, int] = {}
    for result in results.all:
        path = result.run.folder.machine
        for line in path.read_text().splitlines() if path.exists() else []:
            lines[line] = lines.get(line, 0) + 1
    told: list[Block] = [Text(f"{line}: {count} runs.") for line, count in lines.items()]
    history = output / HISTORY
    if history.exists():
        rows = [line.split("\t") for line in history.read_text().splitlines()]
        told.append(Grid("Started", ["when", "how", "finished before"], rows, words=1))
    return told


def configs(results: Results) -> list[Block]:
    """One file of options per setting."""
    first: dict[tuple[str, str], Run] = {}
    for result in results.all:
        if result.run.folder.config.exists():
            first.setdefault(result.run.cell, result.run)
    cells = [cell for task in results.tasks for label in results.labels if (cell := (task, label)) in first]
    return [Code(f"{task}, {label}", first[task, label].folder.config.read_text()) for task, label in cells]


def slug(words: str) -> str:
    """Words for the name of a file."""
    return "".join(letter if letter.isalnum() else "-" for letter in words.lower())


def _told(values: object) -> str:
    found = sorted(set(values))  # pyright: ignore[reportArgumentType, reportCallIssue]
    return " or ".join(f"{value:,}" for value in found)
