"""The units of work, one room per capability."""
