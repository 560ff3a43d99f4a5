"""Scorecards, comparison, costs, verdict."""
