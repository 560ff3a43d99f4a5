"""Suites to Great Expectations to a validation result; quarantine, dropping."""
