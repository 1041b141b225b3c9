"""Published learning curves of model-free algorithms, to put beside ours.

Tianshou's MuJoCo benchmark (examples/mujoco/benchmark, commit f2402056): mean return of 10 seeds at exact numbers of
environment steps, 10 deterministic test episodes each; environments v3 (v2 for Reacher and the pendulums), MuJoCo
2.0, no use of gradients through the dynamics, hyper-parameters the same for all tasks.
"""

from __future__ import annotations

STEPS = (100_000, 300_000, 500_000, 1_000_000)

RETURNS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "Ant-v5": {"SAC": (1020, 3561, 5129, 5714), "PPO": (257, 933, 1831, 3141), "TRPO": (52, 833, 1473, 2731)},
    "HalfCheetah-v5": {
        "SAC": (6515, 9059, 10410, 12122),
        "PPO": (910, 3927, 4878, 5650),
        "TRPO": (365, 2601, 3590, 4527),
    },
    "Hopper-v5": {"SAC": (2613, 3388, 3154, 3532), "PPO": (369, 884, 1976, 2483), "TRPO": (326, 508, 945, 2006)},
    "Humanoid-v5": {"SAC": (629, 2045, 3513, 5416), "PPO": (466, 542, 583, 732), "TRPO": (415, 534, 573, 799)},
    "InvertedDoublePendulum-v5": {
        "SAC": (9354, 8737, 9297, 9269),
        "PPO": (7432, 7608, 9179, 7770),
        "TRPO": (6025, 5604, 3001, 2314),
    },
    "Reacher-v5": {"SAC": (-4, -4, -4, -4), "PPO": (-9, -5, -5, -5), "TRPO": (-11, -6, -6, -6)},
    "Swimmer-v5": {"SAC": (40, 41, 41, 44), "PPO": (-11, 17, 29, 65), "TRPO": (11, 23, 24, 36)},
    "Walker2d-v5": {"SAC": (1305, 3387, 4573, 4961), "PPO": (363, 1986, 2759, 3410), "TRPO": (391, 1696, 2637, 3507)},
}
"""Mean return at STEPS, by task (of the newest version) and algorithm."""
