"""Arguments and options of `waymint estimate`, one type each."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(metavar="DATA", help="a table (file, folder, glob, s3://, builtin:NAME) or a release")]
Treatment = Annotated[str, typer.Option(help="treatment column (a release knows its own)")]
Outcome = Annotated[list[str] | None, typer.Option(help="outcome column (a release knows its own); again for further outcomes")]
Covariates = Annotated[str, typer.Option(help='comma-separated columns, or "*" for all others')]
Exclude = Annotated[str, typer.Option(help='comma-separated columns left out of "*"')]
Treated = Annotated[str | None, typer.Option(help="the label that means 'treated', as a TOML value [default: 1]")]
Control = Annotated[str | None, typer.Option(help="the label of the reference arm; needed with more than two arms")]
Event = Annotated[str | None, typer.Option(help="the label of a two-valued outcome that counts as 1; of a survival outcome its column")]
Cluster = Annotated[str | None, typer.Option(metavar="COLUMN", help="units whose rows are not independent: persons, villages")]
Strata = Annotated[str, typer.Option(help="comma-separated columns of randomisation strata: covariates with levels")]
OutcomeKind = Annotated[str, typer.Option(help="auto, binary, continuous, count or survival")]
Horizon = Annotated[float | None, typer.Option(help="of a survival outcome: the time that mean survival is restricted to")]
Times = Annotated[str, typer.Option(help="of a survival outcome: comma-separated times of survival probabilities")]
Cause = Annotated[str | None, typer.Option(help="of a survival outcome with competing causes: the label of the one of interest")]
MissingOutcome = Annotated[str, typer.Option(help="error, drop, or ipcw: keep the rows and weight by the chance to be observed")]
MissingTreatment = Annotated[str, typer.Option(help="error or drop")]
Kind = Annotated[list[str] | None, typer.Option(metavar="COLUMN=KIND", help="overrides a covariate's kind, e.g. grade=categorical")]
MaxLevels = Annotated[int, typer.Option(min=2, max=5000, help="most levels a categorical covariate may have")]
Missing = Annotated[str | None, typer.Option(help="comma-separated text cells that mean missing")]
MissingValue = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN=VALUE", help="a value of a column that means missing, e.g. bmi=-99")
]
Csv = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="the dialect of CSV files, e.g. decimal=, or dates.visit=%d.%m.%Y")
]
Estimators = Annotated[str, typer.Option(help="comma-separated: or, ipw, aipw, tmle, att, atc, ato; of survival km, ipcw, aipw, tmle")]
Learner = Annotated[str, typer.Option(help="stack, glm, boosted or a plug-in")]
Folds = Annotated[int, typer.Option(min=2, max=20)]
Repeats = Annotated[int, typer.Option(min=1, max=100, help="cross-fittings whose predictions are averaged")]
Propensity = Annotated[str | None, typer.Option(metavar="NUMBER|COLUMN", help="known P(treated), as in a trial")]
Weights = Annotated[str | None, typer.Option(metavar="COLUMN", help="row weights")]
MemoryRows = Annotated[int, typer.Option(min=0, help="rows beyond which the table is not held in memory")]
FitRows = Annotated[int, typer.Option(min=200, help="beyond memory-rows: rows a learner gets at once; glm goes on from there to all rows")]
Seed = Annotated[int, typer.Option(min=0)]
