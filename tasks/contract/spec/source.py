"""The SPEC's section of the source table."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.spec.section import Section


class SourceSpec(Section):
    """Where the table comes from and how it is cut."""

    uri: str = Field(min_length=1, description="builtin:NAME, a file, a folder, a glob or s3://... of Parquet or CSV")
    partition_rows: int = Field(250_000, ge=100, description="rows of one partition; bounds memory, not results")
    holdout: float = Field(0.3, ge=0.05, le=0.5, description="share of rows the covariate synthesizer never sees")
