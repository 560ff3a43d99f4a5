"""Files of a repository on a Hugging Face hub. A child process fetches them, the only one that may ask the network.

The child is `python -m tasks.storage.hub REQUEST`, whose request is a `Repository` as JSON, with `wanted` and `folder`.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from configs.errors import HubError
from tasks.storage.child_process import child_environment, python_command
from tasks.storage.durable import make_private_directory
from tasks.storage.processes import run_to_end

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


def fetch_files(repository: Repository, wanted: Mapping[str, str], folder: Path) -> str:
    """Bring files of a repository, and nothing else of it, to `folder/<commit>`; return the commit.

    A file that an earlier attempt brought there whole is not fetched again. The hub is that of HF_ENDPOINT, the account
    that of HF_TOKEN.

    Args:
        repository: where they are.
        wanted: regular expressions of their whole names in the repository, folders included, by the key of the recipe
            that asks for them; each must find a file.
        folder: where they go, under these names.

    Raises:
        HubError: no such repository, revision or file, terms not accepted, no network.
    """
    make_private_directory(folder)
    request = json.dumps({**asdict(repository), "wanted": dict(wanted), "folder": str(folder)})
    command = python_command("tasks.storage.hub", request)
    exit_code, said = run_to_end(command, environment={**child_environment(1), "HF_HUB_OFFLINE": "0"})
    if exit_code:
        raise HubError(f"fetching {repository.id} from the hub failed with exit status {exit_code}: {said}")
    return said


def main(request_text: str) -> None:
    """Fetch what the request asks for and print the commit.

    Raises:
        SystemExit: with one line for the user.
    """
    request = json.loads(request_text)
    wanted, folder = request.pop("wanted"), Path(request.pop("folder"))
    sys.stdout.write(f"{_fetch(Repository(**request), wanted, folder)}\n")


def _fetch(repository: Repository, wanted: Mapping[str, str], folder: Path) -> str:
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    hub, key = HfApi(), repository.key
    try:
        ask = hub.model_info if repository.kind == "model" else hub.dataset_info
        about = ask(repository.id, revision=repository.revision)
        files = sorted(file.rfilename for file in about.siblings or ())
        place = folder / str(about.sha)
        for name in _names(files, wanted):
            hf_hub_download(repository.id, name, revision=about.sha, repo_type=repository.kind, local_dir=place)
        shutil.rmtree(place / ".cache", ignore_errors=True)  # the library's own notes
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


def _names(files: Sequence[str], wanted: Mapping[str, str]) -> list[str]:
    harmless = [name for name in files if ".." not in name.split("/")]
    found: list[str] = []
    for key, expression in wanted.items():
        matching = [name for name in harmless if re.fullmatch(expression, name)]
        if not matching:
            shown = ", ".join(files[:_SHOWN_FILES]) + (" …" if len(files) > _SHOWN_FILES else "")
            raise SystemExit(f"it has none of the files that {key} names; it has {shown or 'no file'}")
        found += matching
    return list(dict.fromkeys(found))


if __name__ == "__main__":
    main(sys.argv[1])
