"""The cheaper options at their best: prompts and a classical classifier."""
