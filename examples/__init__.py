"""Examples, each run as a module: python -m examples.<name>."""
