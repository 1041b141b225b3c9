"""Comparisons: tasks x algorithms x seeds, run side by side, and the page that tells what came of them."""
