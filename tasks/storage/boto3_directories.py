"""Directories in an S3-compatible object store; only what is complete has a manifest there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from configs.errors import ServerError, StorageError
from tasks.storage.durable import MANIFEST, file_digest, file_within, new_directory, read_manifest
from tasks.storage.faults import reach

_MISSING = ("404", "NoSuchKey", "NotFound")
_ATTEMPTS = 8
"""Of each request, over about a minute: a store that restarts is waited for."""
_CONNECT_TIMEOUT_SECONDS = 10


class S3Directories:
    """See `SharedDirectories`; address and keys come from boto3's own environment, such as AWS_ENDPOINT_URL."""

    def __init__(self, root: str) -> None:
        """Take `s3://bucket/prefix`; nothing is asked of the store yet."""
        import boto3
        from botocore.config import Config

        parts = urlsplit(root)
        self._root, self._bucket, self._prefix = root, parts.netloc, parts.path.strip("/")
        retries: Any = {"max_attempts": _ATTEMPTS, "mode": "standard"}
        self._client: Any = boto3.client(
            "s3", config=Config(retries=retries, connect_timeout=_CONNECT_TIMEOUT_SECONDS)
        )  # fmt: skip

    def push(self, directory: Path, key: str) -> None:
        """Store a valid directory, its manifest last; one that is there already is left alone."""
        with self._explained(f"store {key}"):
            if self._manifest(key) is not None:
                return
            for name in read_manifest(directory)["files"]:
                self._client.upload_file(str(directory / name), self._bucket, self._key(key, name))
            reach("share:before-manifest")
            self._client.put_object(
                Bucket=self._bucket, Key=self._key(key, MANIFEST), Body=(directory / MANIFEST).read_bytes()
            )
        reach("share:after-manifest")

    def fetch(self, key: str, target: Path) -> bool:
        """Make `target` what `key` holds, every file checked against its hash; False where there is no such key."""
        with self._explained(f"fetch {key}"):
            manifest = self._manifest(key)
            if manifest is None:
                return False
            about = {name: value for name, value in manifest.items() if name != "files"}
            with new_directory(target, **about) as directory:
                for name, digest in manifest["files"].items():
                    file = directory / file_within(name, key)
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self._client.download_file(self._bucket, self._key(key, name), str(file))
                    if file_digest(file) != digest:
                        raise StorageError(
                            f"{self._root}/{key}/{name} does not have the hash of its manifest: it was damaged or "
                            f"changed; delete {self._root}/{key}, and what made it makes it again"
                        )
        return True

    def names(self, prefix: str) -> list[str]:
        """Return the complete directories directly below `prefix`, sorted."""
        with self._explained(f"list {prefix}"):
            keys = [PurePosixPath(key).relative_to(self._key(prefix)) for key in self._keys(prefix)]
        return sorted(str(key.parent) for key in keys if len(key.parts) == 2 and key.name == MANIFEST)

    def remove(self, prefix: str) -> None:
        """Delete everything below `prefix`."""
        with self._explained(f"delete {prefix}"):
            for key in list(self._keys(prefix)):
                self._client.delete_object(Bucket=self._bucket, Key=key)

    def ensure_bucket(self) -> bool:
        """See `ensure_bucket`."""
        from botocore.exceptions import ClientError

        with self._explained("make the bucket"):
            try:
                self._client.head_bucket(Bucket=self._bucket)
                return False
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in (*_MISSING, "NoSuchBucket"):
                    raise
            region = self._client.meta.region_name
            places = {} if region in (None, "us-east-1", "aws-global") else {"LocationConstraint": region}
            self._client.create_bucket(
                Bucket=self._bucket, **({"CreateBucketConfiguration": places} if places else {})
            )  # fmt: skip
            return True

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._key(prefix)}/"
        )  # fmt: skip
        for page in pages:
            yield from (entry["Key"] for entry in page.get("Contents", []))

    def _key(self, *parts: str) -> str:
        return "/".join(filter(None, (self._prefix, *parts)))

    def _manifest(self, key: str) -> Mapping[str, Any] | None:
        from botocore.exceptions import ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(key, MANIFEST))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                return None
            raise
        try:
            manifest = json.loads(answer["Body"].read())
        except ValueError:
            manifest = None
        if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
            raise StorageError(f"{self._root}/{key}/{MANIFEST} is damaged; delete {self._root}/{key} and run again")
        return manifest

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what boto3 raises into one message for a person."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (Boto3Error, BotoCoreError, ClientError) as error:
            reason = str(error).strip().splitlines()[0][:300]
            raise ServerError(
                f"can't {doing} in {self._root}: {reason}; it must be reachable (AWS_ENDPOINT_URL), the bucket there, "
                "and the keys allowed to read, write and delete; then run the same command again"
            ) from error


def ensure_bucket(root: str) -> bool:
    """Make the bucket of `s3://bucket/prefix`, unless it is there; return whether it was made.

    Raises:
        ServerError: the store can't be reached, or the keys may not make buckets.
    """
    return S3Directories(root).ensure_bucket()
