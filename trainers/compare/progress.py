"""The live table of a comparison: one row per algorithm, one column per task."""

from __future__ import annotations

import time
from typing import Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table

from diffsim.trainers.compare.comparison import Comparison, Run

State = Literal["waiting", "running", "finished", "stopped", "failed"]
REREAD = 2.0  # seconds between looks into the files of a run


class Progress:
    """Shows where every run stands; where there is no terminal, a line for every run that starts or ends.

    Args:
        comparison: whose runs they are.
        console: where to.
    """

    def __init__(self, comparison: Comparison, console: Console) -> None:
        self.comparison, self.console = comparison, console
        self.states: dict[Run, State] = {}
        self.steps: dict[Run, float] = {}
        self.began = time.monotonic()
        self.read_at = 0.0
        self.live = Live(console=console, get_renderable=self.table, refresh_per_second=1, transient=False)

    def __enter__(self) -> Progress:
        """Draws the table, on a terminal."""
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Leaves it as it is."""
        if self.console.is_terminal:
            self.live.stop()

    def set(self, run: Run, state: State, why: str = "") -> None:
        """A run is in another state now."""
        self.states[run] = state
        if state != "waiting" and not self.console.is_terminal:
            count = f"{sum(value == 'finished' for value in self.states.values())}/{len(self.comparison.runs)}"
            line = f"[{count}] {run.folder.path.name}: {state}{': ' if why else ''}{why}"
            self.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def refresh(self) -> None:
        """Reads how far the runs are that are under way, now and then."""
        if not self.console.is_terminal or time.monotonic() < self.read_at + REREAD:
            return
        self.read_at = time.monotonic()
        for run, state in self.states.items():
            if state == "running":
                self.steps[run] = last_env_steps(run)

    def table(self) -> Table:
        """Finished runs of each cell, and how far the one under way is."""
        counts = {state: sum(value == state for value in self.states.values()) for state in dict.fromkeys(STATES)}
        minutes, seconds = divmod(int(time.monotonic() - self.began), 60)
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        table = Table(box=SIMPLE, padding=(0, 1, 0, 0), caption=f"{told}; {minutes} min {seconds:02d} s")
        table.add_column(f"{len(self.comparison.runs)} runs", no_wrap=True)
        for task in self.comparison.tasks:
            table.add_column(task, no_wrap=True)
        for label in self.comparison.labels:
            table.add_row(label, *(self.cell(task, label) for task in self.comparison.tasks))
        return table

    def cell(self, task: str, label: str) -> str:
        """What is told of the seeds of a task and an algorithm."""
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


STATES: tuple[State, ...] = ("finished", "running", "waiting", "stopped", "failed")


def last_env_steps(run: Run) -> float:
    """Env steps of the last row that the run has written, 0 before any."""
    try:
        rows = run.folder.read_metrics()
        return rows[-1].get("env_steps", 0.0) if rows else 0.0
    except (ValueError, OSError):  # it is being written at this moment
        return 0.0
