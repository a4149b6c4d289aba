"""A synthesizer in one mode, over its seeds: means with Monte-Carlo errors, and whether prediction hides a wrong effect."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from tasks.comparison.causes import CauseSummary, summarize_causes
from tasks.comparison.curves import ArmSummary, summarize_arms
from tasks.comparison.row import ESTIMATORS, Row
from tasks.comparison.spread import Spread, spread
from tasks.contract.spec.compare import Mode

#: A model learnt from the release predicts the source "as well as one learnt from it" within so much AUC, or so much more RMSE.
NEAR_AUC, NEAR_RMSE = 0.02, 0.05
#: An effect is off where its mean error is beyond so many standard errors of the source, and of the comparison itself.
OFF = 2.0
#: The estimator whose error stands for the effect's where one number is needed.
MAIN = "tmle"
FIGURES = (
    "tstr", "tstr_source", "c2st_auc", "dcr_share", "contrast_term", "covariate_term", "source_effect", "source_se", "spearman_gap",
    "missing_gap", "curve_distance", "cate_ratio", "fit_seconds", "sample_seconds", "peak_mib",
)  # fmt: skip
#: Those of :class:`OutcomeSummary`.
SCORES = ("tstr", "tstr_source", "contrast_term", "covariate_term")


class PairSummary(BaseModel):
    """A synthesizer in one mode, as one pair of arms sees it on one outcome.

    Attributes
    ----------
    outcome : str or None
        Its name, of several outcomes.
    arm, control : str or None
        Labels, of more than two arms.
    source_effect, source_se : Spread or None
        The source's main estimate, and its standard error.
    errors, scaled : dict of str to Spread
        As in :class:`Summary`.
    wrong : tuple of str
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str | None = None
    arm: str | None = None
    control: str | None = None
    source_effect: Spread | None
    source_se: Spread | None
    errors: dict[str, Spread]
    scaled: dict[str, Spread]
    wrong: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, float]:
        """How wrong the effect is: the worst pair has the largest."""
        figure = self.scaled.get(MAIN)
        return MAIN in self.wrong, 0.0 if figure is None else abs(figure.mean)


class OutcomeSummary(BaseModel):
    """A synthesizer in one mode, as one of several outcomes sees it; fields as in :class:`Summary`, ``figures`` are ``SCORES``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    tstr_metric: str | None
    figures: dict[str, Spread]
    predicts: bool
    errors: dict[str, Spread]
    scaled: dict[str, Spread]
    wrong: tuple[str, ...]
    arm: str | None
    control: str | None

    @property
    def off(self) -> bool:
        """Whether the effect on this outcome is off."""
        return MAIN in self.wrong

    @property
    def pitfall(self) -> bool:
        """Whether prediction of this outcome is as good as the source's own while the effect on it is off."""
        return self.predicts and self.off

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the two conclusions."""
        return self.model_dump(mode="json") | {"off": self.off, "pitfall": self.pitfall}


class Summary(BaseModel):
    """A synthesizer in one mode. ``errors``, ``scaled`` and ``wrong`` are those of the worst pair of arms on the worst outcome.

    Attributes
    ----------
    synthesizer, mode
    seeds : int
        Seeds with numbers.
    refused : tuple of str
        Why others have none.
    figures : dict of str to Spread
        Means of the rows' fields of that name.
    errors : dict of str to Spread
        Effect errors by estimator, in units of the effect.
    scaled : dict of str to Spread
        The same in standard errors of the source.
    size : Spread or None
        Root of the mean square of the scaled errors over estimators, outcomes, pairs of arms and seeds: one number for what an analysis
        of the release is off by.
    gates_failed : dict of str to int
        Seeds in which a release would fail the gate.
    passed : int
        Seeds in which it would fail none by its own fault (gates on the source fail for all alike).
    predicts : bool
        Whether TSTR is as good as the source's own.
    wrong : tuple of str
        Estimators whose mean error is beyond what the source leaves open and beyond chance.
    outcome, arm, control : str or None
        The worst of several outcomes, and the worst pair of more than two arms: those of the largest mean error of ``MAIN`` in standard
        errors of the source.
    pairs : tuple of PairSummary
        Every pair on every outcome; empty where there is one.
    outcomes : tuple of OutcomeSummary
        Of several outcomes each; ``figures``, ``tstr_metric`` and ``predicts`` of the summary are then those of the first.
    curves : tuple of ArmSummary
        Of a time to event every arm.
    causes : tuple of CauseSummary
        Of competing causes each in every arm.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthesizer: str
    mode: Mode
    seeds: int
    refused: tuple[str, ...] = ()
    tstr_metric: str | None = None
    figures: dict[str, Spread] = {}
    errors: dict[str, Spread] = {}
    scaled: dict[str, Spread] = {}
    size: Spread | None = None
    gates_failed: dict[str, int] = {}
    passed: int = 0
    predicts: bool = False
    wrong: tuple[str, ...] = ()
    outcome: str | None = None
    arm: str | None = None
    control: str | None = None
    pairs: tuple[PairSummary, ...] = ()
    outcomes: tuple[OutcomeSummary, ...] = ()
    curves: tuple[ArmSummary, ...] = ()
    causes: tuple[CauseSummary, ...] = ()

    @property
    def off(self) -> bool:
        """Whether the effect is off: that of the estimator that stands for all."""
        return MAIN in self.wrong

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, with the two conclusions."""
        plain = self.model_dump(mode="json") | {"outcomes": [each.as_dict() for each in self.outcomes]}
        return plain | {"off": self.off, "pitfall": self.pitfall}

    @property
    def pitfall(self) -> bool:
        """Whether prediction is as good as the source's own while the effect is off, on any outcome."""
        return any(each.pitfall for each in self.outcomes) if self.outcomes else self.predicts and self.off


class Variety(NamedTuple):
    """Name of a synthesizer and mode."""

    synthesizer: str
    mode: Mode


def summarize(rows: Iterable[Row]) -> list[Summary]:
    """Summarize rows by synthesizer and mode, in the order in which these first come."""
    grouped: dict[Variety, list[Row]] = {}
    for row in rows:
        grouped.setdefault(Variety(row.synthesizer, row.mode), []).append(row)
    return [_summary(name, group) for name, group in grouped.items()]


def _summary(name: Variety, rows: Sequence[Row]) -> Summary:
    measured = [row for row in rows if row.refused is None]
    refused = tuple(dict.fromkeys(row.refused for row in rows if row.refused is not None))
    if not measured:
        return Summary(synthesizer=name.synthesizer, mode=name.mode, seeds=0, refused=refused)
    figures = {key: figure for key in FIGURES if (figure := spread([getattr(row, key) for row in measured])) is not None}
    pairs = tuple(_pair_summary(measured, number) for number in range(len(measured[0].pairs)))
    worst = max(pairs, key=lambda pair: pair.rank) if pairs else None
    errors, scaled, wrong = (worst.errors, worst.scaled, worst.wrong) if worst is not None else _effect(measured)
    return Summary(
        synthesizer=name.synthesizer,
        mode=name.mode,
        seeds=len(measured),
        refused=refused,
        tstr_metric=measured[0].tstr_metric,
        figures=figures,
        errors=errors,
        scaled=scaled,
        size=_root([squared_error(row) for row in measured]),
        gates_failed=dict(sorted(Counter(name for row in measured for name in row.gates_failed).items())),
        passed=sum(not row.own_failures for row in measured),
        predicts=_predicts(measured),
        wrong=wrong,
        outcome=None if worst is None else worst.outcome,
        arm=None if worst is None else worst.arm,
        control=None if worst is None else worst.control,
        pairs=pairs,
        outcomes=tuple(_outcome_summary(measured, number, pairs) for number in range(len(measured[0].outcomes))),
        curves=summarize_arms([row.curves for row in measured]),
        causes=summarize_causes([row.causes for row in measured]),
    )


def _effect(rows: Sequence[Row]) -> tuple[dict[str, Spread], dict[str, Spread], tuple[str, ...]]:
    """Return mean errors by estimator, the same in standard errors of the source, and the estimators that are wrong."""
    errors = {name: figure for name in ESTIMATORS if (figure := spread([row.effect_error[name] for row in rows])) is not None}
    scaled = {name: figure for name in ESTIMATORS if (figure := spread([scaled_error(row, name) for row in rows])) is not None}
    return errors, scaled, tuple(name for name in ESTIMATORS if _off(rows, errors.get(name), name))


def _pair_summary(rows: Sequence[Row], number: int) -> PairSummary:
    """Summarize one pair of arms."""
    seen = [row.seen_by(number) for row in rows]
    errors, scaled, wrong = _effect(seen)
    effect, error = (spread([getattr(row, name) for row in seen]) for name in ("source_effect", "source_se"))
    labels = rows[0].pairs[number]
    named = {"outcome": labels.outcome, "arm": labels.arm, "control": labels.control}
    return PairSummary(**named, source_effect=effect, source_se=error, errors=errors, scaled=scaled, wrong=wrong)


def _outcome_summary(rows: Sequence[Row], number: int, pairs: Sequence[PairSummary]) -> OutcomeSummary:
    """Summarize one of several outcomes: its scores, and the worst of its pairs."""
    seen, name = [row.scored_on(number) for row in rows], rows[0].outcomes[number].outcome
    worst = max((pair for pair in pairs if pair.outcome == name), key=lambda pair: pair.rank)
    return OutcomeSummary(
        outcome=name,
        tstr_metric=seen[0].tstr_metric,
        figures={key: figure for key in SCORES if (figure := spread([getattr(row, key) for row in seen])) is not None},
        predicts=_predicts(seen),
        errors=worst.errors,
        scaled=worst.scaled,
        wrong=worst.wrong,
        arm=worst.arm,
        control=worst.control,
    )


def scaled_error(row: Row, estimator: str) -> float | None:
    """Return a row's effect error in standard errors of the source; None where either is not known or the latter is 0."""
    error = row.effect_error[estimator]
    return None if error is None or not row.source_se else error / row.source_se


def squared_error(row: Row) -> float | None:
    """Return the mean of a row's squared scaled errors over estimators, pairs of arms and outcomes."""
    seen = [row.seen_by(number) for number in range(len(row.pairs))] or [row]
    errors = [error for each in seen for name in ESTIMATORS if (error := scaled_error(each, name)) is not None]
    return math.fsum(each * each for each in errors) / len(errors) if errors else None


def _root(squares: Sequence[float | None]) -> Spread | None:
    """Return the root of a mean with its Monte-Carlo error by the delta method."""
    figure = spread(squares)
    if figure is None:
        return None
    root = math.sqrt(figure.mean)
    return Spread(mean=root, mcse=None if figure.mcse is None or root == 0.0 else figure.mcse / (2.0 * root))


def _predicts(rows: Sequence[Row]) -> bool:
    pairs = [(row.tstr, row.tstr_source) for row in rows if row.tstr is not None and row.tstr_source is not None]
    if not pairs:
        return False
    released, source = (math.fsum(values) / len(pairs) for values in zip(*pairs))
    return source - released <= NEAR_AUC if rows[0].tstr_metric == "auc" else released <= (1.0 + NEAR_RMSE) * source


def _off(rows: Sequence[Row], figure: Spread | None, estimator: str) -> bool:
    """Return whether a mean error is beyond chance and beyond what the source itself leaves open."""
    error = spread([row.source_se for row in rows])
    if figure is None or error is None:
        return False
    # three seeds may agree by chance: the comparison's error is at least that of the releases' own estimates
    floor = spread([row.release_se[estimator] for row in rows])
    noise = max(figure.mcse or 0.0, 0.0 if floor is None else floor.mean / math.sqrt(len(rows)))
    return abs(figure.mean) > OFF * error.mean and abs(figure.mean) > OFF * noise
