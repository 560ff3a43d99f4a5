"""Pure: task metrics, intervals, paired tests, multiple looks."""
