"""Files of a repository on a Hugging Face hub. A child process fetches them, the only one that may ask the network.

The child is `python -m tasks.storage.hub REQUEST`, whose request is a `Repository` as JSON, with `names` and `folder`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from configs.errors import HubError
from tasks.storage.child_process import child_environment, python_command
from tasks.storage.durable import make_private_directory
from tasks.storage.processes import spawn, stop

_SHOWN_FILES = 8


@dataclass(frozen=True)
class Repository:
    """What a recipe names."""

    kind: Literal["model", "dataset"]
    id: str
    """`organisation/name`."""
    revision: str
    """A commit, a branch or a tag."""
    key: str
    """Where the recipe names it: `base` or `data.source`."""


def fetch_files(repository: Repository, names: str, folder: Path) -> str:
    """Bring files of a repository, and nothing else of it, into a folder; return the commit.

    A file that an earlier attempt brought there whole is not fetched again. The hub is that of HF_ENDPOINT, the account
    that of HF_TOKEN.

    Args:
        repository: where they are.
        names: regular expression of their whole names in the repository, folders included.
        folder: where they go, under these names.

    Raises:
        HubError: no such repository, revision or file, terms not accepted, no network.
    """
    make_private_directory(folder)
    request = json.dumps({**asdict(repository), "names": names, "folder": str(folder)})
    with tempfile.TemporaryFile() as output:
        process = spawn(
            python_command("tasks.storage.hub", request),
            environment={**child_environment(1), "HF_HUB_OFFLINE": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            failed = process.wait()
        finally:
            stop(process, grace_seconds=1)
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines() or ["no output"]
    if failed:
        raise HubError(f"fetching {repository.id} from the hub failed with exit status {failed}: {lines[-1]}")
    return lines[-1]


def main(request_text: str) -> None:
    """Fetch what the request asks for and print the commit.

    Raises:
        SystemExit: with one line for the user.
    """
    request = json.loads(request_text)
    names, folder = re.compile(request.pop("names")), Path(request.pop("folder"))
    sys.stdout.write(f"{_fetch(Repository(**request), names, folder)}\n")


def _fetch(repository: Repository, names: re.Pattern[str], folder: Path) -> str:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    hub, key = HfApi(), repository.key
    try:
        ask = hub.model_info if repository.kind == "model" else hub.dataset_info
        about = ask(repository.id, revision=repository.revision)
        files = sorted(file.rfilename for file in about.siblings or ())
        for name in _wanted(files, names, key=key):
            hf_hub_download(repository.id, name, revision=about.sha, repo_type=repository.kind, local_dir=folder)
    except GatedRepoError as error:
        raise SystemExit("its terms must be accepted on its page first, and HF_TOKEN set to that account's") from error
    except RepositoryNotFoundError as error:
        raise SystemExit(
            f"{hub.endpoint} has no such {repository.kind}, or it is private; correct {key}.id, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise SystemExit(f"it has no revision {repository.revision}; correct {key}.revision") from error
    except Exception as error:  # of the library, of its HTTP client (whose name depends on its version), of the disk
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SystemExit(
            f"{reason}; check the network (HF_ENDPOINT, HTTPS_PROXY) and free disk space; the same command goes on "
            "with the file that is missing"
        ) from error
    return str(about.sha)


def _wanted(files: Sequence[str], names: re.Pattern[str], *, key: str) -> list[str]:
    found = [name for name in files if names.fullmatch(name) and ".." not in name.split("/")]
    if not found:
        shown = ", ".join(files[:_SHOWN_FILES]) + (" …" if len(files) > _SHOWN_FILES else "")
        raise SystemExit(f"it has none of the files that {key} names; it has {shown or 'no file'}")
    return found


if __name__ == "__main__":
    main(sys.argv[1])
