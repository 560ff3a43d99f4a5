"""What the system does: flows, each a short list of calls."""
