"""One variant's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.comparison.causes import CauseGap, cause_gaps
from tasks.comparison.curves import ArmGap, arm_gaps
from tasks.comparison.variants import Variant
from tasks.contract.results import Gate
from tasks.contract.spec.compare import Mode
from tasks.targeting.estimators import ATE

#: Estimators that an analyst of the release may use.
ESTIMATORS = ATE
#: Gates that judge the source: they fail for every variant alike.
SOURCE_GATES = frozenset({"source_overlap", "source_ess", "min_arm"})

_EFFECT = ("effect_error", "release_se", "source_effect", "source_se")


class PairError(BaseModel):
    """What became of the effect of one pair of arms on one outcome; fields as in :class:`Row`.

    Attributes
    ----------
    outcome : str or None
        Its name, of several outcomes.
    arm, control : str or None
        Labels, of more than two arms.
    effect_error, release_se : dict of str to float or None
    source_effect, source_se : float or None
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str | None = None
    arm: str | None = None
    control: str | None = None
    effect_error: dict[str, float | None]
    release_se: dict[str, float | None]
    source_effect: float | None
    source_se: float | None


class OutcomeScore(BaseModel):
    """How well one of several outcomes is predicted, and the two terms of its effect's error; fields as in :class:`Row`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: str
    tstr: float | None
    tstr_source: float | None
    tstr_metric: str
    contrast_term: float | None
    contrast_se: float | None
    covariate_term: float | None
    covariate_se: float | None


_Named = tuple[str | None, str | None, str | None]
_SCORE = tuple(name for name in OutcomeScore.model_fields if name != "outcome")


class Row(BaseModel):
    """What was measured of one variant; all numbers are None where it could not be made.

    Attributes
    ----------
    synthesizer, mode, seed
        The variant.
    refused : str or None
        Why there are no numbers.
    tstr, tstr_source : float or None
        Score on the source's rows of a model learnt from the release, and of one learnt from the source itself, out of fold.
    tstr_metric : str or None
        ``"auc"`` (higher is better) or ``"rmse"`` (lower is better, units of the outcome).
    c2st_auc, c2st_low, c2st_high : float or None
        A classifier's AUC between released and held-out covariates with its 95 % interval; 0.5 where they are indistinguishable. None too
        where the holdout is too small.
    dcr_share : float or None
        Share of released rows closer to seed than to holdout, references of equal size; 0.5 where nothing leaks.
    contrast_term, covariate_term : float or None
        The two terms of the effect's error, in units of the effect, each with a standard error.
    effect_error : dict of str to float or None
        By estimator: its ATE on the release minus the source's main estimate.
    release_se : dict of str to float or None
        Standard errors of the release's estimates.
    source_effect, source_se : float or None
        The source's main estimate with this seed.
    pairs : tuple of PairError
        Of several outcomes or more than two arms every pair on every outcome; the fields above are then those of the first, and so are
        the two terms.
    outcomes : tuple of OutcomeScore
        Of several outcomes each; the fields above are then those of the first.
    spearman_gap : float or None
        Of several outcomes the largest difference, over pairs of them and arms, between release and source in Spearman's correlation
        of residuals.
    missing_gap : float or None
        Where outcomes are missing the largest difference, over outcomes and arms, in the share of missing cells.
    curve_distance : float or None
        Of a time to event the largest of ``curves``.
    curves : tuple of ArmGap
        Of a time to event every arm.
    causes : tuple of CauseGap
        Of competing causes each in every arm.
    cate_ratio : float or None
        Gap of single effects on the first outcome to the source over that of a new sample of the source; 1 is as good as that.
    gates_failed : tuple of str
        Gates a release of this variant would fail.
    fit_seconds, sample_seconds : float or None
        CPU seconds of fitting the synthesizer, and of drawing as many rows as are released.
    peak_mib : float or None
        Memory that fitting or drawing took beyond what the process held.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthesizer: str
    mode: Mode
    seed: int
    refused: str | None = None
    tstr: float | None = None
    tstr_source: float | None = None
    tstr_metric: str | None = None
    c2st_auc: float | None = None
    c2st_low: float | None = None
    c2st_high: float | None = None
    dcr_share: float | None = None
    contrast_term: float | None = None
    contrast_se: float | None = None
    covariate_term: float | None = None
    covariate_se: float | None = None
    effect_error: dict[str, float | None] = dict.fromkeys(ESTIMATORS)
    release_se: dict[str, float | None] = dict.fromkeys(ESTIMATORS)
    source_effect: float | None = None
    source_se: float | None = None
    pairs: tuple[PairError, ...] = ()
    outcomes: tuple[OutcomeScore, ...] = ()
    spearman_gap: float | None = None
    missing_gap: float | None = None
    curve_distance: float | None = None
    curves: tuple[ArmGap, ...] = ()
    causes: tuple[CauseGap, ...] = ()
    cate_ratio: float | None = None
    gates_failed: tuple[str, ...] = ()
    fit_seconds: float | None = None
    sample_seconds: float | None = None
    peak_mib: float | None = None

    def seen_by(self, number: int) -> Row:
        """Return the row with the effect of one of its pairs in place of the first one's."""
        pair = self.pairs[number]
        return self.model_copy(update={name: getattr(pair, name) for name in _EFFECT})

    def scored_on(self, number: int) -> Row:
        """Return the row with the scores of one of its outcomes in place of the first one's."""
        score = self.outcomes[number]
        return self.model_copy(update={name: getattr(score, name) for name in _SCORE})

    @property
    def own_failures(self) -> tuple[str, ...]:
        """Gates that a release of this variant would fail by its own fault and not by the source's."""
        return tuple(name for name in self.gates_failed if name not in SOURCE_GATES)


def refused_row(variant: Variant, reason: str) -> Row:
    """Return the row of a variant that could not be made."""
    return Row(synthesizer=variant.title, mode=variant.mode, seed=variant.seed, refused=reason)


def measured_row(
    variant: Variant,
    effects: Mapping[str, Mapping[str, Any]],
    main: str,
    fidelity: Mapping[str, Any],
    apart: Mapping[str, Any],
    people: Mapping[str, Any],
    gates: Iterable[Gate],
    costs: Mapping[str, Mapping[str, Any]],
    together: Mapping[str, Any] | None = None,
) -> Row:
    """Put a variant's records together.

    Parameters
    ----------
    variant : Variant
    effects : mapping
        Effects records of ``"source"`` and ``"release"``.
    main : str
        Estimator of the source's effect.
    fidelity, people : mapping
        Records of the estimation step.
    apart : mapping
        Record of :func:`tasks.comparison.task.tell_apart`.
    gates : iterable of Gate
    costs : mapping
        ``"fit"`` and ``"sample"``, each of :meth:`infra.metering.Meter.as_dict`.
    together : mapping, optional
        Record of :func:`tasks.estimation.together.outcomes_together`.
    """
    pairs, outcomes, curves = _pair_errors(effects, main), fidelity.get("outcomes", ()), arm_gaps(effects)
    first, gaps = pairs[0], together or {}
    two_sample, peaks = apart.get("c2st") or {}, [costs[name].get("peak_mib") for name in ("fit", "sample")]
    return Row(
        synthesizer=variant.title,
        mode=variant.mode,
        seed=variant.seed,
        **_score(fidelity),
        c2st_auc=two_sample.get("auc"),
        c2st_low=two_sample.get("ci_low"),
        c2st_high=two_sample.get("ci_high"),
        dcr_share=apart.get("dcr_share"),
        effect_error=first.effect_error,
        release_se=first.release_se,
        source_effect=first.source_effect,
        source_se=first.source_se,
        pairs=pairs if len(pairs) > 1 else (),
        outcomes=tuple(OutcomeScore(outcome=each["outcome"], **_score(each)) for each in outcomes),
        spearman_gap=_largest(gaps.get("spearman", ())),
        missing_gap=_largest(gaps.get("missing", ())),
        curve_distance=max((each.curve_distance for each in curves), default=None),
        curves=curves,
        causes=cause_gaps(effects),
        cate_ratio=people["cate"].get("mean", {}).get("ratio"),
        gates_failed=tuple(gate.name for gate in gates if gate.passed is False),
        fit_seconds=costs["fit"].get("cpu_seconds"),
        sample_seconds=costs["sample"].get("cpu_seconds"),
        peak_mib=max((peak for peak in peaks if peak is not None), default=None),
    )


def _score(fidelity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores and the two terms of one outcome's fidelity record."""
    ledger, score = {each["name"]: each for each in fidelity["ledger"]}, fidelity["tstr"][0]
    return {
        "tstr": score["tstr"]["value"],
        "tstr_source": score["trtr"]["value"],
        "tstr_metric": score["metric"],
        "contrast_term": ledger["contrast"]["value"],
        "contrast_se": ledger["contrast"]["se"],
        "covariate_term": ledger["covariate_law"]["value"],
        "covariate_se": ledger["covariate_law"]["se"],
    }


def _largest(gaps: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the largest difference between release and source; None where there is none."""
    return max((abs(each["release"] - each["source"]) for each in gaps if None not in (each["release"], each["source"])), default=None)


def _pair_errors(effects: Mapping[str, Mapping[str, Any]], main: str) -> tuple[PairError, ...]:
    """Set the release's estimates of every pair of arms on every outcome against the source's main one; a single one has no name."""
    ate: dict[str, dict[_Named, dict[str, Any]]] = {"source": {}, "release": {}}
    for where, pairs in ate.items():
        for each in effects[where]["estimates"]:
            if each["estimand"] == "ate":
                named = (each.get("outcome"), each.get("arm"), each.get("control"))
                pairs.setdefault(named, {}).setdefault(each["estimator"], each)
    return tuple(
        PairError(
            outcome=named[0],
            arm=named[1],
            control=named[2],
            effect_error={name: ate["release"][named][name]["estimate"] - source[main]["estimate"] for name in ESTIMATORS},
            release_se={name: ate["release"][named][name]["se"] for name in ESTIMATORS},
            source_effect=source[main]["estimate"],
            source_se=source[main]["se"],
        )
        for named, source in ate["source"].items()
    )
