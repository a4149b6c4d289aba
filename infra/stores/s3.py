"""A store in a bucket of Amazon S3 or of a server that speaks its language."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from infra.stores.aws import open_client, spoken
from infra.stores.keys import checked_key, checked_prefix, content_type
from tasks.contract.errors import StoreConflict, StoreError, StoreMissing
from tasks.contract.store import StoredObject

_PART = 64 * 2**20
_LARGEST = 5 * 2**30
_CONDITIONAL_TRIES = 6


class S3Options(NamedTuple):
    """What AWS has no setting of its own for.

    Attributes
    ----------
    kms_key : str or None
        Objects are encrypted with this KMS key (SSE-KMS); None leaves it to the bucket.
    bucket_owner : str or None
        Account that the bucket must belong to: every request names it, and is refused elsewhere.
    """

    kms_key: str | None = None
    bucket_owner: str | None = None


PLAIN = S3Options()


class S3Store:
    """Objects of one bucket below one prefix.

    Credentials, region and endpoint come the AWS way. Pickles by its place: a copy in another process makes a client
    of its own from that process' environment.

    Parameters
    ----------
    bucket : str
        Name of the bucket; it must exist.
    prefix : str
        Start of all keys, without slashes at its ends; may be empty.
    options : S3Options
        Encryption and owner.
    """

    def __init__(self, bucket: str, prefix: str = "", options: S3Options = PLAIN) -> None:
        self._bucket = bucket
        self._options = options
        self._owned: dict[str, Any] = {} if options.bucket_owner is None else {"ExpectedBucketOwner": options.bucket_owner}
        encryption = {} if options.kms_key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": options.kms_key}
        self._written: dict[str, Any] = {**self._owned, **encryption}
        self._prefix = prefix
        self._base = f"{prefix}/" if prefix else ""
        self._client = open_client()
        self._endpoint = self._client.meta.endpoint_url
        self._bucket_seen = False

    def __reduce__(self) -> tuple[type[S3Store], tuple[str, str, S3Options]]:
        return (S3Store, (self._bucket, self._prefix, self._options))

    def __repr__(self) -> str:
        return f"S3Store({self.uri!r})"

    @property
    def uri(self) -> str:
        """Root of the store: ``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def put(self, key: str, data: bytes) -> None:
        """Write an object, replacing one that is there; above 64 MB in parts, visible all at once."""
        name = self._name(key)
        kind = content_type(key)
        with spoken(self.uri, self._endpoint, key):
            if len(data) <= _PART:
                self._client.put_object(Bucket=self._bucket, Key=name, Body=data, ContentType=kind, **self._written)
                return
            parts = TransferConfig(multipart_threshold=_PART, multipart_chunksize=_PART, max_concurrency=2)
            self._client.upload_fileobj(
                io.BytesIO(data), self._bucket, name, ExtraArgs={"ContentType": kind, **self._written}, Config=parts
            )

    def put_new(self, key: str, data: bytes) -> None:
        """Write an object only where none is, or where exactly these bytes are.

        Exactly one of many racing writers of different bytes wins. A conditional put whose first try succeeded but
        whose answer was lost is repeated and then refused: so bytes are compared, and equal ones are a success. Who must
        know that *it* won puts a token of its own into the bytes.

        Raises
        ------
        StoreConflict
            If other bytes are there.
        """
        name = self._name(key)
        if len(data) > _LARGEST:
            raise StoreError(f"bytes of '{key}' must be at most {_LARGEST} for a conditional write; got {len(data)}.")
        for attempt in range(_CONDITIONAL_TRIES):
            with spoken(self.uri, self._endpoint, key):
                try:
                    kind = content_type(key)
                    self._client.put_object(Bucket=self._bucket, Key=name, Body=data, ContentType=kind, IfNoneMatch="*", **self._written)
                except ClientError as error:
                    # 412: an object is there; 409: another conditional write is under way, its outcome is not known yet
                    if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (409, 412):
                        raise
                else:
                    return
            try:
                there = self.get(key)
            except StoreMissing:
                # the other writer has not finished, or its object was deleted meanwhile
                time.sleep(_pause(attempt))
                continue
            if there == data:
                return
            break
        raise StoreConflict(f"key of store {self.uri} must be new; got '{key}', which is already there.")

    def get(self, key: str, most: int | None = None) -> bytes:
        """Read an object whole; one of more than ``most`` bytes is refused unread."""
        name = self._name(key)
        with spoken(self.uri, self._endpoint, key):
            answer = self._client.get_object(Bucket=self._bucket, Key=name, **self._owned)
            size = answer["ContentLength"]
            if most is not None and size > most:
                answer["Body"].close()
                raise StoreError(f"object '{key}' of store {self.uri} must have at most {most} bytes; got {size}.")
            return answer["Body"].read()

    def exists(self, key: str) -> bool:
        """Return whether the key is there."""
        name = self._name(key)
        try:
            with spoken(self.uri, self._endpoint, key):
                self._client.head_object(Bucket=self._bucket, Key=name, **self._owned)
        except StoreMissing:
            self._require_bucket()
            return False
        return True

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """List the objects whose key starts with ``prefix`` in byte order of their keys."""
        checked_prefix(prefix)
        items = []
        with spoken(self.uri, self._endpoint, prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._base + prefix, **self._owned)
            for page in pages:
                for item in page.get("Contents", ()):
                    key = item["Key"].removeprefix(self._base)
                    if not key.endswith("/"):  # a marker of an empty folder is no object of ours
                        items.append(StoredObject(key, item["Size"], item["LastModified"].timestamp()))
        # some servers list folder by folder, which is not the byte order of whole keys
        yield from sorted(items, key=lambda each: os.fsencode(each.key))

    def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is no error."""
        name = self._name(key)
        try:
            with spoken(self.uri, self._endpoint, key):
                self._client.delete_object(Bucket=self._bucket, Key=name, **self._owned)
        except StoreMissing:
            self._require_bucket()

    def _name(self, key: str) -> str:
        return checked_key(self._base + checked_key(key))

    def _require_bucket(self) -> None:
        """Tell a missing bucket from a missing key: the answer to HEAD has no body that would say."""
        if self._bucket_seen:
            return
        try:
            with spoken(self.uri, self._endpoint, ""):
                self._client.head_bucket(Bucket=self._bucket, **self._owned)
        except StoreMissing:
            message = f"bucket of store {self.uri} must exist; got '{self._bucket}'."
            raise StoreMissing(message, "Create it, or correct store.uri.") from None
        self._bucket_seen = True


def _pause(attempt: int) -> float:
    return min(0.1 * 2.0**attempt, 2.0)
