"""Comparisons: runs of all tasks x algorithms x seeds, and a report of their results."""
