"""`diffsim sweep`: a search for good options, by Optuna."""
