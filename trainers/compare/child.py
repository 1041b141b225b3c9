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


def add_current_folder() -> None:
    """Makes modules of the current folder importable, such as a person's own algorithm."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


if __name__ == "__main__":
    add_current_folder()
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(["fit", *sys.argv[1:]]))
