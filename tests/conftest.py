"""Fixtures that every folder of tests may ask for."""

from pathlib import Path

import pytest

from tests.releasing import command, home, prefect, published, source, waymint
from tests.s3 import bucket, s3_env, s3_server

__all__ = ["bucket", "command", "home", "prefect", "published", "s3_env", "s3_server", "source", "waymint"]


@pytest.fixture(scope="session", autouse=True)
def _own_home(home: Path) -> None:
    """Keep the user's own key, locks and workspaces out of the tests."""
