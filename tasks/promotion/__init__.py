"""Parity, gates, decision, alias moves."""
