"""`python -m diffsim`, the same as the command `diffsim`."""

import sys

from diffsim.trainers.cli import main

if __name__ == "__main__":
    sys.exit(main())
