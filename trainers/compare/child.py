"""The process of one run: `diffsim fit`, which ends when whoever started it does.

The parent holds the other end of standard input and never writes to it. When it closes, the parent is gone, even if
it was killed: nobody would know of this run any more, and one that is started later must find the folder at rest.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from diffsim.trainers.cli import main


def end_with_parent() -> None:
    """Waits for standard input to close, then ends this process and those it started, which are its group."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    sys.exit(main(["fit", *sys.argv[1:]]))
