"""Fixtures that every folder of tests may ask for."""

from tests.releasing import command, home, prefect, published, source, waymint
from tests.s3 import bucket, s3_env, s3_server

__all__ = ["bucket", "command", "home", "prefect", "published", "s3_env", "s3_server", "source", "waymint"]
