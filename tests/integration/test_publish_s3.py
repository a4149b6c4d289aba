"""The commit protocol over a real S3 server."""

import uuid

import pytest

from infra.store import open_store
from tests.protocol import CommitProtocol


@pytest.mark.s3
class TestOverS3(CommitProtocol):
    @pytest.fixture
    def store(self, s3_env, bucket):
        return open_store(f"s3://{bucket}/{uuid.uuid4().hex}")
