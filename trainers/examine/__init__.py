"""Examines a learned model: prediction errors, calibration, and the policy gradient through the model."""
