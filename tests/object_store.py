"""A real S3 protocol on loopback: moto's server, in a thread of the test process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

BUCKET = "team"


@dataclass(frozen=True)
class ObjectStore:
    url: str
    environment: Mapping[str, str]

    def client(self) -> Any:
        import boto3

        return boto3.client(
            "s3", endpoint_url=self.url,
            aws_access_key_id=self.environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.environment["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1",
        )  # fmt: skip

    def objects(self, prefix: str = "") -> dict[str, bytes]:
        """Every object by key, with its content."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: client.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


@contextmanager
def object_store(secret_key: str = "secret-of-the-store") -> Iterator[ObjectStore]:
    """A store with the bucket `team` for the block."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    environment = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "key-of-the-store",
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    try:
        store = ObjectStore(url, environment)
        store.client().create_bucket(Bucket=BUCKET)
        yield store
    finally:
        server.stop()
