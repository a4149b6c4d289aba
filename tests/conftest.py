"""Fixtures that every folder of tests may ask for."""

from tests.s3 import bucket, s3_env, s3_server

__all__ = ["bucket", "s3_env", "s3_server"]
