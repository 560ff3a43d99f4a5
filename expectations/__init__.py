"""Suites as reviewed data, and the project's own expectations."""
