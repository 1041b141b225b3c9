"""Examines a learned model: errors, calibration, and the policy gradient through it."""
