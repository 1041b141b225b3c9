"""Small comparisons, and a check that two runs have the same results."""

import time

import torch
import yaml

from diffsim.trainers.compare.compare import start
from diffsim.trainers.compare.comparison_file import find_comparison, read_comparison

SMALL = """
seeds: [0, 1]
options: {env_steps: 24, evaluate_every_steps: 12, evaluate_episodes: 1, final_episodes: 2, hidden_sizes: [4]}
tasks: [Reacher-v5]
algorithms:
  BPTT: {num_envs: 2, horizon: 3}
  TD3: {steps: 6, warmup_steps: 6, batch_size: 4, critic_hidden_sizes: [4]}
"""
LONG = """
seeds: [0, 1]
options: {env_steps: 900, evaluate_every_steps: 60, evaluate_episodes: 1, final_episodes: 1, hidden_sizes: [4]}
tasks: [Reacher-v5]
algorithms: {BPTT: {num_envs: 2, horizon: 3}}
"""
OWN = """
import gymnasium
import numpy as np

class Line(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-9.0, 9.0, (1,), np.float64)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = np.zeros(1)
        return self.x, {}

    def step(self, action):
        self.x = np.clip(self.x + action, -9.0, 9.0)
        return self.x, float(-abs(self.x[0] - 2.0)), False, False, {}

gymnasium.register("Line-v0", Line, max_episode_steps=5)
"""
COMPARISON = {
    "options": {"env_steps": 20, "evaluate_episodes": 1, "final_episodes": 1},
    "tasks": ["own_line:Line-v0"],
    "algorithms": {"A2C": {"num_envs": 2, "horizon": 5, "hidden_sizes": [4]}},
}


def read(tmp_path, **changes):
    (tmp_path / "comparison.yaml").write_text(yaml.safe_dump({**COMPARISON, **changes}, sort_keys=False))
    return read_comparison(find_comparison(tmp_path), tmp_path)


def finish(launcher, run):
    """Trains one run to its end."""
    run.folder.path.parent.mkdir(parents=True)
    handle, deadline = start(run, launcher), time.monotonic() + 240
    while handle.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert handle.poll() == 0 and run.finished, run.log.read_text()


def outcome(folder):
    """Results of a run without its times."""
    rows = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in folder.read_metrics()]
    return rows, folder.final.read_text(), torch.load(folder.checkpoint, weights_only=True)["state_dict"]


def assert_same(first, second):
    one, other = outcome(first), outcome(second)
    assert one[:2] == other[:2]
    assert one[2].keys() == other[2].keys()
    for name, value in one[2].items():
        assert torch.equal(value, other[2][name]), name
