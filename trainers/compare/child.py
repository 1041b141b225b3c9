"""The process of one run: `diffsim fit`, which ends when its parent process ends.

The parent holds the other end of standard input and never writes to it. When it closes, the parent has ended, even if
it was killed. This process then ends too, so that no forgotten run writes into a folder that a new comparison uses.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from diffsim.trainers.cli import main


def end_with_parent() -> None:
    """Waits until standard input closes, then kills this process and its children, which are its process group."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(["fit", *sys.argv[1:]]))
