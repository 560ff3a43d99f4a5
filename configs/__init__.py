"""Recipes and settings: the schema that holds every default, loading, the environment."""
