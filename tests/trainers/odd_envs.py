"""Small environments with unusual spaces, as users write them. Each asserts that its actions are in its space."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Graph, MultiBinary, MultiDiscrete, Sequence, Text, Tuple

VECTOR = Box(-1.0, 1.0, (2,), np.float64)
THROTTLE = Box(-1.0, 1.0, (2,), np.float32)


class Odd(gymnasium.Env):
    """Episodes of three steps with random observations of a space; every action must be in the action space."""

    def __init__(self, observation_space=VECTOR, action_space=THROTTLE, draw=None):
        self.observation_space, self.action_space, self.draw = observation_space, action_space, draw

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.age = 0
        if seed is not None:
            self.observation_space.seed(seed)
        return self._observation(), {}

    def step(self, action):
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        self.age += 1
        return self._observation(), 1.0 + self.age % 2, self.age == 3, False, {}

    def _observation(self):
        return self.observation_space.sample() if self.draw is None else self.draw(self.np_random)


CAMERA = Box(0, 255, (9, 9, 3), np.uint8)
OBSERVATIONS = {
    "Scalar": Box(-1.0, 1.0, (), np.float32),
    "Matrix": Box(-np.inf, np.inf, (2, 3), np.float32),
    "Integers": Box(-5, 5, (3,), np.int64),
    "Unsigned16": Box(0, 60_000, (9, 9), np.uint16),
    "Half": Box(-1.0, 1.0, (2,), np.float16),
    "Bytes": CAMERA,
    "FloatImage": Box(0.0, 1.0, (3, 9, 9), np.float32),
    "TinyImage": Box(0, 255, (2, 2), np.uint8),
    "Movie": Box(0, 255, (2, 9, 9, 3), np.uint8),
    "Cell": Discrete(5),
    "LateCell": Discrete(3, start=-1),
    "Bits": MultiBinary((2, 2)),
    "Cards": MultiDiscrete([3, 2]),
    "Nested": Dict({"eye": CAMERA, "body": Dict({"arm": VECTOR, "mode": Discrete(3)})}),
    "Pair": Tuple((Discrete(2), Box(-1.0, 1.0, (1, 2), np.float32))),
    "Nothing": Box(-1.0, 1.0, (0,), np.float32),
    "EmptyDict": Dict({}),
    "HugeCell": Discrete(10**9),
    "Words": Dict({"note": Dict({"title": Text(5)})}),
    "List": Sequence(Discrete(3)),
    "Net": Graph(VECTOR, None),
}
ACTIONS = {
    "AskewBox": Box(np.float32([-0.3, 0.1]), np.float32([0.7, 0.3])),
    "DoubleBox": Box(np.array([0.1, -0.7]), np.array([0.3, 0.9]), dtype=np.float64),
    "Square": Box(-1.0, 1.0, (1, 1), np.float32),
    "Number": Box(-1.0, 1.0, (), np.float32),
    "IntegerBox": Box(-2, 3, (2,), np.int32),
    "AllIntegers": Box(-(2**31), 2**31 - 1, (1,), np.int32),
    "Unbounded": Box(-np.inf, np.inf, (2,), np.float32),
    "OneSided": Box(np.float32([0.0, -1.0]), np.float32([np.inf, 1.0])),
    "ZeroWidth": Box(np.float32([0.5, -1.0]), np.float32([0.5, 1.0])),
    "NoAction": Box(-1.0, 1.0, (0,), np.float32),
    "Switches": MultiBinary(3),
    "Grid": MultiDiscrete([[2, 3], [4, 2]]),
    "Late": Discrete(3, start=5),
    "Hybrid": Tuple((Discrete(2), THROTTLE)),
    "TwoBoxes": Dict({"left": THROTTLE, "right": THROTTLE}),
    "Say": Text(3),
}


def far(random):
    return 1e9 + random.uniform(-1.0, 1.0, 2)


SPACES = [
    *((name, space, "Pushes", THROTTLE) for name, space in OBSERVATIONS.items()),
    *(("Vector", VECTOR, name, space) for name, space in ACTIONS.items()),
    *(("Bytes", CAMERA, "Choice", Discrete(2)), ("Cell", Discrete(4), "Choice", Discrete(2))),
    ("Far", Box(-np.inf, np.inf, (2,), np.float64), "Pushes", THROTTLE),
]
CASES = {f"Sees{sees}Does{does}": (obs, action, far if sees == "Far" else None) for sees, obs, does, action in SPACES}


def make_odd(name):
    """The environment of a case."""
    return Odd(*CASES[name])


for case in CASES:
    gymnasium.register(f"{case}-v0", partial(make_odd, case))
