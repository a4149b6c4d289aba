"""The S3 client the AWS way: environment, profile, endpoint; and its errors in the words of the contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pyarrow.fs
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from infra.settings import aws_retries_configured
from tasks.contract.errors import StoreConflict, StoreError, StoreForbidden, StoreMissing, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CREDENTIALS = "Give credentials the AWS way: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
_ENDPOINT = "Check AWS_ENDPOINT_URL, and that the server is up."
_REFUSED = {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
_PASSING = {
    "RequestTimeout",
    "SlowDown",
    "ServiceUnavailable",
    "InternalError",
    "Throttling",
    "ThrottlingException",
    "RequestTimeTooSkewed",
}
_MISSING = {"NoSuchKey", "404"}
_LOST = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


def open_client() -> S3Client:
    """Make an S3 client from the AWS environment.

    Region, profile, role, endpoint, checksums and addressing style are those of the environment and the AWS configuration file.
    Retries are botocore's standard mode, five tries in all with growing pauses, unless the environment says otherwise. A
    conditional put is safe to repeat only because its caller compares bytes. Any endpoint that is not Amazon's is addressed by
    path: few self-hosted servers have a host name per bucket.

    Returns
    -------
    S3Client
        Thread-safe.

    Raises
    ------
    StoreForbidden
        If the profile is not known.
    StoreError
        If the endpoint is no URL.
    """
    try:
        session = boto3.session.Session()
        client = session.client("s3", config=_config())
        if _is_custom(client.meta.endpoint_url):
            client = session.client("s3", config=_config({"addressing_style": "path"}))
    except ProfileNotFound as error:
        raise StoreForbidden(f"AWS profile of store must be known; got '{error}'.", _CREDENTIALS) from None
    except (BotoCoreError, ValueError) as error:
        raise StoreError(f"AWS settings of store must be valid; got '{error}'.", _ENDPOINT) from None
    return client


def open_filesystem() -> pyarrow.fs.S3FileSystem:
    """Make an Arrow file system that reaches the same server with the same credentials as :func:`open_client`.

    Raises
    ------
    StoreForbidden
        If there are no credentials.
    """
    endpoint = open_client().meta.endpoint_url
    session = boto3.session.Session()
    with spoken("s3", endpoint, ""):
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        frozen = credentials.get_frozen_credentials()
    parts = urlsplit(endpoint)
    place = {"endpoint_override": parts.netloc, "scheme": parts.scheme} if _is_custom(endpoint) else {}
    return pyarrow.fs.S3FileSystem(
        access_key=frozen.access_key,
        secret_key=frozen.secret_key,
        session_token=frozen.token,
        region=session.region_name or "us-east-1",
        force_virtual_addressing=False,
        **place,
    )


@contextlib.contextmanager
def spoken(uri: str, endpoint: str, key: str) -> Iterator[None]:
    """Say an error of botocore in the words of the contract.

    Raises
    ------
    StoreMissing, StoreForbidden, StoreConflict, StoreUnavailable, StoreError
        By the server's answer, or by the lack of one.
    """
    try:
        yield
    except ClientError as error:
        raise _answered(error, uri, key) from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError, TokenRetrievalError) as error:
        raise StoreForbidden(f"credentials of store {uri} must be given; got '{error}'.", _CREDENTIALS) from None
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise StoreUnavailable(f"endpoint of store {uri} must answer; got {type(error).__name__} from {endpoint}.", _ENDPOINT) from None
    except (BotoCoreError, Boto3Error) as error:
        # boto3 wraps the server's answer to a multipart upload; the answer is what counts
        if isinstance(error.__context__, ClientError):
            raise _answered(error.__context__, uri, key) from None
        raise StoreError(f"request to store {uri} must be valid; got '{error}' at '{key}'.") from None


def _answered(error: ClientError, uri: str, key: str) -> StoreError:
    code = error.response.get("Error", {}).get("Code", "")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        bucket = uri.removeprefix("s3://").partition("/")[0]
        return StoreMissing(f"bucket of store {uri} must exist; got '{bucket}'.", "Create it, or correct store.uri.")
    if code in _REFUSED or status in (401, 403):
        return StoreForbidden(f"access to store {uri} must be allowed; got {code or status} at '{key}'.", _CREDENTIALS)
    if code in _MISSING or status == 404:
        return StoreMissing(f"key of store {uri} must be there; got '{key}'.")
    if code in _LOST or status in (409, 412):
        return StoreConflict(f"key of store {uri} must be new; got '{key}', which is already there.")
    if code in _PASSING or status == 429 or status >= 500:
        return StoreUnavailable(f"store {uri} must answer; got {code or status} at '{key}' after all retries.", _ENDPOINT)
    return StoreError(f"store {uri} must take '{key}'; got {code or status}.")


def _config(addressing: dict[str, str] | None = None) -> Config:
    settings: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60, "max_pool_connections": 16}
    if addressing is not None:
        settings["s3"] = addressing
    if not aws_retries_configured():
        settings["retries"] = {"mode": "standard", "total_max_attempts": 5}
    return Config(**settings)


def _is_custom(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    return not host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
