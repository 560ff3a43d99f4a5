"""The HTML report, terminal summary, tables and plots."""
