"""Time to train an ensemble in one batched pass, compared with its members one after the other.

Both make the same updates (loss, gradient and Adam, in float32) of perceptrons of the same sizes on the same numbers.
They are timed in turns, in one process, on one thread, by processor time. Both make the same matrix products; one pass
saves the rest of the cost of an update. The last column is an upper bound of the ratio on this core: one pass that
takes only the time of its matrix products, at the rate of a large one.

    python -m benchmarks.ensemble --members 7
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Adam

from benchmarks.command import RESULTS, make_parser, page, paragraphs, parse, positive, table
from diffsim.models import GaussianEnsemble

IN_SIZE, OUT_SIZE = 23, 17
"""Sizes of input and output: those of HalfCheetah-v5's dynamics."""
WIDTHS = {32: (64, 128, 200), 64: (128, 200), 256: (64, 200)}
"""Widths of the two hidden layers, by batch of each member."""


def updater(num_members: int, width: int, batch: int) -> Callable[[], None]:
    """One update of an ensemble, as a function."""
    model = GaussianEnsemble(IN_SIZE, OUT_SIZE, num_members=num_members, hidden_sizes=(width, width))
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True)
    x, y = torch.randn(num_members, batch, IN_SIZE), torch.randn(num_members, batch, OUT_SIZE)

    def update() -> None:
        loss: Tensor = model.nll(x, y).mean(1).sum() + model.bounds_penalty().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Processor time of `repeats` calls."""
    start = time.process_time()
    for _ in range(repeats):
        function()
    return time.process_time() - start


def operations_per_second(size: int = 512, repeats: int = 20) -> float:
    """Floating-point operations per second of a large matrix product, the best of `repeats`."""
    matrix = torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: matrix @ matrix, 1) for _ in range(repeats))


def compare(members: int, width: int, batch: int, rounds: int, repeats: int) -> list[float]:
    """Time one after the other, divided by the time in one pass and by that of its products; medians over rounds."""
    together = updater(members, width, batch)
    alone = [updater(1, width, batch) for _ in range(members)]
    # forward, by weights and by inputs of a layer; no gradient by the data
    products = 2 * batch * members * (2 * IN_SIZE * width + 3 * (width * width + width * 2 * OUT_SIZE))
    rate, rows = operations_per_second(), []
    for _ in range(rounds + 1):
        slow = seconds(lambda: [update() for update in alone], repeats)
        rows.append((slow / seconds(together, repeats), slow * rate / (repeats * products)))
    return torch.tensor(rows[1:]).median(0).values.tolist()  # the first round warms up


def main(arguments: list[str] | None = None) -> None:
    """Prints one line per size, and writes the page."""
    parser = make_parser("ensemble", __doc__)
    parser.set_defaults(output=RESULTS)
    parser.add_argument("--members", type=positive(int), default=7)
    parser.add_argument("--rounds", type=positive(int), default=9)
    parser.add_argument("--repeats", type=positive(int), default=10, help="updates per round")
    options, lines = parse(parser, arguments), []
    for batch, width in ((batch, width) for batch, widths in WIDTHS.items() for width in widths):
        ratios = compare(options.members, width, batch, options.rounds, options.repeats)
        lines.append([batch, f"{width}, {width}", f"{ratios[0]:.2f}", f"{ratios[1]:.1f}"])
        print(*lines[-1], sep=" | ", flush=True)
    grid = table("batch: | hidden sizes | one after the other / in one pass: | / products of one pass:", lines)
    note = f"; {options.members} members, one thread"
    text = page("An ensemble in one batched pass", "ensemble", paragraphs(__doc__)[1], grid, note=note)
    (options.output / "ensemble.md").write_text(text)


if __name__ == "__main__":
    main()
