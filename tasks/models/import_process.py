"""The child process that builds a base model with torch: `python -m tasks.models.import_process REQUEST`.

The request is JSON: {"kind": "tiny", "source": {...}, "target": path}, or "gguf": path instead of the source.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from configs.schema import TinyBase


def main(request_text: str) -> None:
    """Build what the request asks for."""
    request = json.loads(request_text)
    target = Path(request["target"])
    if request["kind"] == "tiny":
        from tasks.models.tiny_base import build_tiny_base

        build_tiny_base(TinyBase.model_validate(request["source"]), target)
    else:
        from tasks.models.gguf_base import convert_gguf

        convert_gguf(Path(request["gguf"]), target)
    _forget_library_version(target)


def _forget_library_version(target: Path) -> None:
    """Drop the writing library's version from the configs, so that an upgrade alone gives no new digest."""
    for path in (target / "config.json", target / "generation_config.json"):
        if path.is_file():
            config = json.loads(path.read_text(encoding="utf-8"))
            config.pop("transformers_version", None)
            path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
