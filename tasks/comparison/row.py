"""One variant's numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

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
    """What became of the effect of one pair of arms; fields as in :class:`Row`.

    Attributes
    ----------
    arm, control : str
        Labels.
    effect_error, release_se : dict of str to float or None
    source_effect, source_se : float or None
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arm: str
    control: str
    effect_error: dict[str, float | None]
    release_se: dict[str, float | None]
    source_effect: float | None
    source_se: float | None

    @property
    def title(self) -> str:
        """How pages call it."""
        return f"{self.arm} − {self.control}"


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
        Of more than two arms every pair; the fields above are then those of the first, and so are the two terms.
    cate_ratio : float or None
        Gap of single effects to the source over that of a new sample of the source; 1 is as good as that.
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
    cate_ratio: float | None = None
    gates_failed: tuple[str, ...] = ()
    fit_seconds: float | None = None
    sample_seconds: float | None = None
    peak_mib: float | None = None

    def seen_by(self, number: int) -> Row:
        """Return the row with the effect of one of its pairs in place of the first one's."""
        pair = self.pairs[number]
        return self.model_copy(update={name: getattr(pair, name) for name in _EFFECT})

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
    """
    pairs = _pair_errors(effects, main)
    first, ledger, score = pairs[0], {each["name"]: each for each in fidelity["ledger"]}, fidelity["tstr"][0]
    two_sample, peaks = apart.get("c2st") or {}, [costs[name].get("peak_mib") for name in ("fit", "sample")]
    return Row(
        synthesizer=variant.title,
        mode=variant.mode,
        seed=variant.seed,
        tstr=score["tstr"]["value"],
        tstr_source=score["trtr"]["value"],
        tstr_metric=score["metric"],
        c2st_auc=two_sample.get("auc"),
        c2st_low=two_sample.get("ci_low"),
        c2st_high=two_sample.get("ci_high"),
        dcr_share=apart.get("dcr_share"),
        contrast_term=ledger["contrast"]["value"],
        contrast_se=ledger["contrast"]["se"],
        covariate_term=ledger["covariate_law"]["value"],
        covariate_se=ledger["covariate_law"]["se"],
        effect_error=first.effect_error,
        release_se=first.release_se,
        source_effect=first.source_effect,
        source_se=first.source_se,
        pairs=pairs if len(pairs) > 1 else (),
        cate_ratio=people["cate"].get("mean", {}).get("ratio"),
        gates_failed=tuple(gate.name for gate in gates if gate.passed is False),
        fit_seconds=costs["fit"].get("cpu_seconds"),
        sample_seconds=costs["sample"].get("cpu_seconds"),
        peak_mib=max((peak for peak in peaks if peak is not None), default=None),
    )


def _pair_errors(effects: Mapping[str, Mapping[str, Any]], main: str) -> tuple[PairError, ...]:
    """Set the release's estimates of every pair of arms against the source's main one; of two arms there is one pair without labels."""
    ate: dict[str, dict[tuple[str | None, str | None], dict[str, Any]]] = {"source": {}, "release": {}}
    for where, pairs in ate.items():
        for each in effects[where]["estimates"]:
            if each["estimand"] == "ate":
                pairs.setdefault((each.get("arm"), each.get("control")), {}).setdefault(each["estimator"], each)
    return tuple(
        PairError(
            arm=arm or "",
            control=control or "",
            effect_error={name: ate["release"][arm, control][name]["estimate"] - source[main]["estimate"] for name in ESTIMATORS},
            release_se={name: ate["release"][arm, control][name]["se"] for name in ESTIMATORS},
            source_effect=source[main]["estimate"],
            source_se=source[main]["se"],
        )
        for (arm, control), source in ate["source"].items()
    )
