"""The commit protocol over a folder."""

import pytest

from infra.store import open_store
from tests.protocol import CommitProtocol


class TestOverFiles(CommitProtocol):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store(f"file://{tmp_path}/store")
