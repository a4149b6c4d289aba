"""The SPEC's section of how the work is run."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.spec.section import Section


class EngineSpec(Section):
    """How the work is run. Changes nothing in the result."""

    dask: str = Field("local", pattern=r"^(local|threads|tcp://.+|tls://.+)$")
    workers: int = Field(2, ge=1, le=512)
    memory: str = Field("auto", pattern=r"^(auto|[0-9.]+ ?[kMGT]i?B)$", description='memory limit of one local worker, e.g. "2GiB"')
    timeout: float = Field(14_400, gt=0, description="seconds after which a stage without an answer is given up and tried on a new cluster")
    workspace: str | None = Field(None, description="where intermediate files live: a folder or s3://...; never the store")
