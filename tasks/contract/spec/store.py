"""The SPEC's section of the store."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.spec.section import Section


class StoreSpec(Section):
    """Where releases are published."""

    uri: str = Field("file://./releases", min_length=1, description="a folder, as file://PATH, or s3://BUCKET/PREFIX")
    kms_key: str | None = Field(
        None,
        min_length=1,
        description="KMS key that objects in a bucket are encrypted with; else WAYMINT_S3_KMS_KEY, else the bucket's own default",
        examples=["alias/releases"],
    )
    bucket_owner: str | None = Field(
        None,
        pattern=r"^\d{12}$",
        description="AWS account that the bucket must belong to, else requests are refused; else WAYMINT_S3_BUCKET_OWNER",
        examples=["111122223333"],
    )
