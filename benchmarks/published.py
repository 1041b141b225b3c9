"""Published learning curves of model-free algorithms, for comparison with ours.

Tianshou's MuJoCo benchmark (examples/mujoco/benchmark, commit f2402056): mean return of 10 seeds at exact numbers of
environment steps, 10 deterministic test episodes each; environments v3 (v2 for Reacher and the pendulums), MuJoCo
2.0, no use of gradients through the dynamics, hyper-parameters the same for all tasks.
"""

from __future__ import annotations

from benchmarks.runs import CONFIGS
from diffsim.trainers.compare.references import read_references

REFERENCES = [r for r in read_references(CONFIGS / "compare" / "references.yaml")[0] if r.source == "tianshou"]


def curve(task: str, algorithm: str) -> dict[int, float]:
    """Mean returns by env steps; empty if none are published."""
    return {r.env_steps: r.mean for r in REFERENCES if (r.task, r.algorithm) == (task, algorithm)}


def published(task: str, algorithm: str, env_steps: int) -> str:
    """The mean return as text; empty if it is not published."""
    found = curve(task, algorithm)
    return f"{found[env_steps]:,.0f}" if env_steps in found else ""
