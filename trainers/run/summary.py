"""Prints the results of a trained policy."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from diffsim.policies import Policy
from diffsim.trainers.run.evaluation import Episodes, OfficialEvaluation
from diffsim.trainers.run.run_folder import RunFolder


def described(episodes: Episodes) -> dict[str, str]:
    """Mean and (population) standard deviation of the return, and the success rate, as text."""
    returns, successes = episodes.returns, episodes.successes
    rows = {f"official return, {len(returns)} episodes": f"{returns.mean():,.1f} ± {returns.std():,.1f}"}
    return rows if successes is None else {**rows, "success rate": f"{successes.mean():.0%}"}


def print_table(title: str, rows: dict[str, str], console: Console) -> None:
    """Prints names and values in two columns. Lines are never wrapped, so that a path can be copied."""
    width = max(map(len, rows))
    lines = [title, "-" * len(title), *(f"{name:<{width}}  {value}" for name, value in rows.items())]
    console.print("\n".join(lines), soft_wrap=True, markup=False, highlight=False)


def record_video(
    evaluation: OfficialEvaluation, policy: Policy, folder: RunFolder, console: Console, path: Path | None = None
) -> None:
    """Records an episode to `path`, the folder's video.mp4 if None. Called after the table, because it may fail."""
    path = path or folder.video
    path.parent.mkdir(parents=True, exist_ok=True)
    evaluation.record(policy, path)
    console.print(f"video  {path}", soft_wrap=True, markup=False, highlight=False)
