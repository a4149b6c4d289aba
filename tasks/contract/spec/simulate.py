"""The SPEC's section of ``waymint simulate``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.contract.spec.section import Section

DesignName = Literal["randomized", "fitted", "tilted"]
Size = Annotated[int, Field(ge=50, le=100_000)]
Tilt = Annotated[float, Field(ge=0, le=10)]
Factor = Annotated[float, Field(ge=-10, le=10)]
Spread = Annotated[float, Field(ge=0, le=10)]
#: Most cells of a grid: each is hundreds of data sets.
MOST_CELLS = 200


class SimulateSpec(Section):
    """The grid of ``waymint simulate``: each combination of the lists is a cell."""

    rows: tuple[Size, ...] = Field((1_000,), min_length=1, description="sizes of the simulated tables")
    designs: tuple[DesignName, ...] = Field(
        ("fitted", "randomized"), min_length=1, description="how treatment is assigned; mechanisms.probability is used by randomized"
    )
    tilts: tuple[Tilt, ...] = Field((2.0,), min_length=1, description='factors on logit g, for the design "tilted" only')
    effect_scales: tuple[Factor, ...] = Field(
        (1.0, 0.0), min_length=1, description="factors on Q1 - Q0; at 0 there is no effect, and power is the type-1 error"
    )
    withheld: tuple[str, ...] = Field((), description="covariates hidden from the estimators, one at a time", examples=[["age"]])
    noise: tuple[Spread, ...] = Field((1.0,), min_length=1, description="factors on the residuals of a continuous outcome")
    learners: tuple[str, ...] = Field(("glm",), min_length=1, description="learners of g and Q that the estimators use")
    params: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="parameters, by learner; where left out, mechanisms.params for its own learner and defaults for others",
        examples=[{"glm": {"squares": False}}],
    )
    folds: int = Field(5, ge=2, le=20, description="folds of each cross-fit")
    estimators: Literal["all"] | tuple[str, ...] = Field(
        "all",
        description='names of estimators, of a time to event also km and logrank, of causes aj; "all" is every one that needs no subgroup',
    )
    replicates: int = Field(1_000, ge=20, le=1_000_000, description="most data sets of a cell")
    precision: float = Field(
        0.01, ge=0, lt=0.5, description="a cell ends early once the Monte-Carlo error of every coverage is at most this; 0: never"
    )
    rmse_precision: float = Field(0.05, gt=0, lt=1, description="and once the Monte-Carlo error of every RMSE is at most this share of it")
    draws: int = Field(3, ge=0, le=50, description="refits on Bayesian bootstrap draws of the source; from a release: its copies")
    pool: int = Field(
        50_000,
        ge=2_000,
        le=10_000_000,
        description="covariate rows that data sets are sampled from; from a release: at most this many of its rows",
    )
    power: float = Field(0.8, gt=0.05, lt=1, description="power that sample sizes are recommended for")

    @model_validator(mode="after")
    def _grid(self) -> SimulateSpec:
        for name in ("rows", "designs", "tilts", "effect_scales", "withheld", "noise", "learners"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} must not hold a value twice")
        strangers = sorted(set(self.params) - set(self.learners))
        if strangers:
            raise ValueError(f"params must be of learners that are tried, '{strangers[0]}' is not")
        if not self.estimators:
            raise ValueError("estimators must name at least one")
        if isinstance(self.estimators, tuple) and len(set(self.estimators)) < len(self.estimators):
            raise ValueError("estimators must not hold a name twice")
        if self.cells > MOST_CELLS:
            raise ValueError(f"the grid must have at most {MOST_CELLS} cells, it has {self.cells}")
        return self

    @property
    def cells(self) -> int:
        """Number of cells of the grid."""
        designs = len(self.designs) + (len(self.tilts) - 1 if "tilted" in self.designs else 0)
        return len(self.rows) * designs * len(self.effect_scales) * (1 + len(self.withheld)) * len(self.noise) * len(self.learners)
