"""Batched generation and label scoring with a shared-prefix cache; options and their answers."""
