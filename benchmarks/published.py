"""Published learning curves of model-free algorithms, to put beside ours.

Tianshou's MuJoCo benchmark (examples/mujoco/benchmark, commit f2402056): mean return of 10 seeds at exact numbers of
environment steps, 10 deterministic test episodes each; environments v3 (v2 for Reacher and the pendulums), MuJoCo
2.0, no use of gradients through the dynamics, hyper-parameters the same for all tasks.
"""

from __future__ import annotations

STEPS = (100_000, 300_000, 500_000, 1_000_000)

RETURNS: dict[str, dict[str, tuple[int, int, int, int]]] = {
    "Ant-v5": {
        "SAC": (1020, 3561, 5129, 5714),
        "PPO": (257, 933, 1831, 3141),
        "TRPO": (52, 833, 1473, 2731),
        "A2C": (72, 1061, 2057, 3532),
        "NaturalGradient": (11, 218, 865, 2366),
        "Reinforce": (49, 58, 100, 184),
    },
    "HalfCheetah-v5": {
        "SAC": (6515, 9059, 10410, 12122),
        "PPO": (910, 3927, 4878, 5650),
        "TRPO": (365, 2601, 3590, 4527),
        "A2C": (39, 731, 1077, 1936),
        "NaturalGradient": (-24, 911, 1934, 3493),
        "Reinforce": (-52, 115, 363, 526),
    },
    "Hopper-v5": {
        "SAC": (2613, 3388, 3154, 3532),
        "PPO": (369, 884, 1976, 2483),
        "TRPO": (326, 508, 945, 2006),
        "A2C": (683, 581, 819, 1224),
        "NaturalGradient": (291, 554, 898, 1884),
        "Reinforce": (199, 318, 341, 375),
    },
    "Humanoid-v5": {
        "SAC": (629, 2045, 3513, 5416),
        "PPO": (466, 542, 583, 732),
        "TRPO": (415, 534, 573, 799),
        "A2C": (427, 537, 555, 1766),
        "NaturalGradient": (417, 527, 559, 775),
        "Reinforce": (161, 357, 362, 391),
    },
    "InvertedDoublePendulum-v5": {
        "SAC": (9354, 8737, 9297, 9269),
        "PPO": (7432, 7608, 9179, 7770),
        "TRPO": (6025, 5604, 3001, 2314),
        "A2C": (371, 7590, 7592, 8990),
        "NaturalGradient": (228, 9120, 8636, 8332),
        "Reinforce": (97, 290, 379, 427),
    },
    "Reacher-v5": {
        "SAC": (-4, -4, -4, -4),
        "PPO": (-9, -5, -5, -5),
        "TRPO": (-11, -6, -6, -6),
        "A2C": (-35, -15, -9, -8),
        "NaturalGradient": (-26, -8, -7, -5),
        "Reinforce": (-32, -28, -26, -21),
    },
    "Swimmer-v5": {
        "SAC": (40, 41, 41, 44),
        "PPO": (-11, 17, 29, 65),
        "TRPO": (11, 23, 24, 36),
        "A2C": (28, 30, 31, 38),
        "NaturalGradient": (14, 13, 14, 33),
        "Reinforce": (21, 21, 20, 31),
    },
    "Walker2d-v5": {
        "SAC": (1305, 3387, 4573, 4961),
        "PPO": (363, 1986, 2759, 3410),
        "TRPO": (391, 1696, 2637, 3507),
        "A2C": (200, 548, 566, 1219),
        "NaturalGradient": (291, 507, 829, 2425),
        "Reinforce": (224, 267, 285, 343),
    },
}
"""Mean return at STEPS, by task (of the newest version) and algorithm."""
