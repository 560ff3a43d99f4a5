"""Fetch a base model from a Hugging Face hub. Runs in the import process, the only one that may ask the network."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from configs.schema import HubBase
from tasks.models.safety import MODEL_FILES


def fetch_from_hub(source: HubBase, target: Path) -> str:
    """Bring the files of a model, and nothing else of its repository, into a folder; return the commit.

    A file that an earlier attempt brought there whole is not fetched again. The hub is that of HF_ENDPOINT, the account
    that of HF_TOKEN.

    Raises:
        SystemExit: with one line for the user: no such model or revision, terms not accepted, no network.
    """
    hub = HfApi()
    try:
        about = hub.model_info(source.id, revision=source.revision)
        for name in sorted(file.rfilename for file in about.siblings or ()):
            if MODEL_FILES.fullmatch(name):
                hf_hub_download(source.id, name, revision=about.sha, local_dir=target)
    except GatedRepoError as error:
        raise SystemExit("its terms must be accepted on its page first, and HF_TOKEN set to that account's") from error
    except RepositoryNotFoundError as error:
        raise SystemExit(
            f"{hub.endpoint} has no such model, or it is private; correct base.id, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise SystemExit(f"it has no revision {source.revision}; correct base.revision") from error
    except Exception as error:  # of the library, of its HTTP client (whose name depends on its version), of the disk
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise SystemExit(
            f"{reason}; check the network (HF_ENDPOINT, HTTPS_PROXY) and free disk space; the same command goes on "
            "with the file that is missing"
        ) from error
    return str(about.sha)
