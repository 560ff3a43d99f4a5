"""The Optuna study over training."""
