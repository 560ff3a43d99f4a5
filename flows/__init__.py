"""What the system does: flows, each a short list of calls."""

from configs.environment import collect_garbage_seldom

collect_garbage_seldom()  # here, so that it comes before the imports of a flow that Prefect's engine loads
