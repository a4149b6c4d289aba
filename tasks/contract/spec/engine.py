"""The SPEC's section of how the work is run."""

from __future__ import annotations

from pydantic import Field

from tasks.contract.spec.section import Section


class EngineSpec(Section):
    """Where and how the work runs. It does not change the result."""

    dask: str = Field(
        "auto",
        pattern=r"^(auto|local|threads|tcp://.+|tls://.+)$",
        description="local: worker processes on this machine; threads: in the process of the command; auto: threads for a small table, "
        "else local, and the manifest says which; tcp:// or tls://: a Dask scheduler",
        examples=["local"],
    )
    workers: int = Field(2, ge=1, le=512, description="worker processes, or threads")
    memory: str = Field("auto", pattern=r"^(auto|[0-9.]+ ?[kMGT]i?B)$", description="memory limit of one local worker", examples=["2GiB"])
    timeout: float = Field(14_400, gt=0, description="seconds after which a stage is given up and started on a new cluster")
    workspace: str | None = Field(
        None,
        description="folder or s3:// prefix for intermediate files, which hold real rows; where left out: ~/.waymint/work",
        examples=["/scratch/waymint"],
    )
