"""The SPEC's section of how the work is run."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

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
    max_workers: int | None = Field(
        None,
        ge=1,
        le=512,
        description="local: the cluster grows from workers to so many processes while there is work for them, and shrinks again; "
        "threads: so many threads; where left out: workers. A scheduler of your own scales its workers itself",
        examples=[8],
    )
    memory: str = Field("auto", pattern=r"^(auto|[0-9.]+ ?[kMGT]i?B)$", description="memory limit of one local worker", examples=["2GiB"])
    timeout: float = Field(14_400, gt=0, description="seconds after which a stage is given up and started on a new cluster")
    workspace: str | None = Field(
        None,
        description="folder or s3:// prefix for intermediate files, which hold real rows; where left out: ~/.waymint/work",
        examples=["/scratch/waymint"],
    )

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max_workers is not None and self.max_workers < self.workers:
            raise ValueError(f"max_workers must be at least workers ({self.workers}); got {self.max_workers}")
        return self

    @property
    def most_workers(self) -> int:
        """Most worker processes or threads that the run may have on this machine."""
        return self.max_workers or self.workers
