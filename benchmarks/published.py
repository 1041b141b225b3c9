"""Published learning curves of model-free algorithms, for comparison with ours.

Tianshou's MuJoCo benchmark (examples/mujoco/benchmark, commit f2402056): mean return of 10 seeds at exact numbers of
environment steps, 10 deterministic test episodes each; environments v3 (v2 for Reacher and the pendulums), MuJoCo
2.0, no use of gradients through the dynamics, hyper-parameters the same for all tasks.
"""

from __future__ import annotations

from pathlib import Path

import yaml

REFERENCES = Path(__file__).parents[1] / "configs" / "compare" / "references.yaml"
STEPS = (100_000, 300_000, 500_000, 1_000_000)

RETURNS: dict[str, dict[str, tuple[int, ...]]] = {
    task: {name: tuple(curve[steps][0] for steps in STEPS) for name, curve in curves.items()}
    for task, curves in yaml.safe_load(REFERENCES.read_text())["sources"]["tianshou"]["returns"].items()
}
"""Mean return at STEPS, by task (of the newest version) and algorithm."""
