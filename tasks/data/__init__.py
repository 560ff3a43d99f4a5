"""Load, map, split, snapshot; templates, label masks, token counts."""
