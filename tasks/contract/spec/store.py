"""The SPEC's section of the store."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.spec.section import Section


class StoreSpec(Section):
    """Where releases are published."""

    uri: str = Field("file://./releases", min_length=1, description="a folder, as file://PATH, or s3://BUCKET/PREFIX")
