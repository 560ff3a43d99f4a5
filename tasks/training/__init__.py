"""The LoRA fine-tune: engine, checkpoints, precision."""
