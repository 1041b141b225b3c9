"""The live table of a comparison: one row per algorithm, one column per task."""

from __future__ import annotations

import time
from typing import Literal, get_args

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from diffsim.trainers.compare.comparison import Comparison, Run

State = Literal["finished", "running", "waiting", "failed"]
REREAD = 2.0  # seconds between reads of the runs' metrics


class Progress:
    """Shows the state of every run; without a terminal, prints a line for every run that starts or ends."""

    def __init__(self, comparison: Comparison, console: Console) -> None:
        self.comparison, self.console = comparison, console
        self.states: dict[Run, State] = {}
        self.steps: dict[Run, float] = {}
        self.began = time.monotonic()
        self.read_at = 0.0
        self.live = Live(console=console, get_renderable=self.table, refresh_per_second=1, transient=False)

    def __enter__(self) -> Progress:
        """Starts the live table on a terminal."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stops updating the table."""
        if self.console.is_terminal:
            self.live.stop()

    def set(self, run: Run, state: State, why: str = "") -> None:
        """Sets the state of a run."""
        self.states[run] = state
        if state != "waiting" and not self.console.is_terminal:
            count = f"{sum(value == 'finished' for value in self.states.values())}/{len(self.comparison.runs)}"
            line = f"[{count}] {run.folder.path.name}: {state}{': ' if why else ''}{why}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def refresh(self) -> None:
        """Reads the progress of the active runs, at most every `REREAD` seconds."""
        if not self.console.is_terminal or time.monotonic() < self.read_at + REREAD:
            return
        self.read_at = time.monotonic()
        for run, state in self.states.items():
            if state == "running":
                self.steps[run] = last_env_steps(run)

    def table(self) -> Table:
        """Number of finished runs of each cell, and the progress of the active ones."""
        counts = {state: sum(value == state for value in self.states.values()) for state in get_args(State)}
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=f"{summary}; {minutes} min {seconds:02d} s")
        table.add_column(f"{len(self.comparison.runs)} runs", no_wrap=True)
        for task in self.comparison.tasks:
            table.add_column(task, no_wrap=True)
        for label in self.comparison.labels:
            table.add_row(label, *(self.cell(task, label) for task in self.comparison.tasks))
        return table

    def cell(self, task: str, label: str) -> str:
        """The text for the seeds of a task and an algorithm."""
        states = {run: state for run, state in self.states.items() if run.cell == (task, label)}
        if not states:
            return "-"
        parts = [f"{sum(state == 'finished' for state in states.values())}/{len(states)}"]
        for run, state in states.items():
            if state == "running":
                parts.append(f"[cyan]{self.steps.get(run, 0.0) / (run.env_steps or 1):.0%}[/]")
        failed = sum(state == "failed" for state in states.values())
        if failed:
            parts.append(f"[red]{failed} failed[/]")
        return " ".join(parts)


def last_env_steps(run: Run) -> float:
    """Env steps of the last row of the run's metrics, or 0."""
    try:
        rows = run.folder.read_metrics()
        return rows[-1].get("env_steps", 0.0) if rows else 0.0
    except (ValueError, OSError):  # the file is being written
        return 0.0
