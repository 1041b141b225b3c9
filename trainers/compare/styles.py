"""Colour, marker and line of each algorithm, the same in all pictures."""

from __future__ import annotations

from typing import NamedTuple

from diffsim.trainers.run.registry import ALGORITHMS

COLORS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#5e3c99", "#000000", "#8c6d46", "#7f7f7f")
"""Of Okabe and Ito (2008), which people tell apart who do not see red or green, without yellow; and three more."""
MARKERS = "osD^vPX*<>"
LINES = ("-", "--", "-.", ":")
FIRST = ("SHAC", "PPO", "SAC", "TD3", "BPTT", "TRPO", "MBPO", "PETS", "DDPG", "A2C")
"""Algorithms that are compared most, which have ten different colours."""
ORDER = (*FIRST, *(name for name in ALGORITHMS if name not in FIRST))


class Style(NamedTuple):
    """How an algorithm is drawn.

    Attributes:
        color: of line, marker and band.
        marker: of points.
        linestyle: "-" for the first label of an algorithm in a comparison, others for further ones.
    """

    color: str
    marker: str
    linestyle: str


def styles(algorithms: dict[str, str]) -> dict[str, Style]:
    """The style of each label.

    Args:
        algorithms: name of the algorithm of each label. Algorithms that are not ours follow ours.
    """
    order = [*ORDER, *(name for name in dict.fromkeys(algorithms.values()) if name not in ORDER)]
    found: dict[str, Style] = {}
    seen: dict[str, int] = {}
    for label, algorithm in algorithms.items():
        place, repeat = order.index(algorithm), seen.get(algorithm, 0)
        seen[algorithm] = repeat + 1
        marker = MARKERS[(place + place // len(COLORS) + 5 * repeat) % len(MARKERS)]
        found[label] = Style(COLORS[place % len(COLORS)], marker, LINES[repeat % len(LINES)])
    return found
