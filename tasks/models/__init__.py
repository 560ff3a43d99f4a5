"""Base models: import, convert, digest, safety checks, load; the worker process that holds one."""
