"""Model versions, aliases and the history of moves."""
