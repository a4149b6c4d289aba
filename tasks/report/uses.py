"""What a release may be used for, and what its numbers do not say: from the measured figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.contract.headline import built_in, main_effect
from tasks.pages.numbers import fixed, number
from tasks.report.cate import ALIKE, FAINT, LARGER
from tasks.report.effects import effect_decimals

Manifest = Mapping[str, Any]

#: A score that is worse than the source's own by up to this share of it is read as as good.
_AS_GOOD = 0.05


class Use(NamedTuple):
    """One use.

    Attributes
    ----------
    title : str
    answer : str
        ``"yes"``, ``"limits"``, ``"no"`` or ``"not measured"``.
    why : str
        One sentence.
    """

    title: str
    answer: str
    why: str

    @property
    def tone(self) -> str:
        """Class of the badge."""
        return {"yes": "good", "no": "bad"}.get(self.answer, "off")


def uses(manifest: Manifest) -> list[Use]:
    """Return what a published release may be used for."""
    return [
        _average(manifest),
        _people(manifest),
        _single(manifest["fidelity"]),
        _prediction(manifest["fidelity"]),
        _design(manifest),
        _public(),
    ]


def _average(manifest: Manifest) -> Use:
    fidelity = next((gate for gate in manifest["gates"] if gate["name"] == "fidelity"), None)
    title = "Try, teach and share analyses of the average effect"
    if manifest["spec"]["release"]["mode"] == "full":
        return Use(title, "limits", "Mode full is a baseline: nothing holds the effect in place.")
    if fidelity is None or fidelity["status"] in ("off", "inconclusive"):
        return Use(title, "limits", "The gate on the effect did not judge.")
    reference = manifest["source"].get("reference")
    rows = f"the rows of version {reference['version']}" if reference else "the real rows"
    return Use(title, "yes", f"The same analysis finds the effect that {rows} have, within its error.")


def _people(manifest: Manifest) -> Use:
    reference = manifest["source"].get("reference")
    where = f", which stands in the report of version {reference['version']}" if reference else ""
    why = f"Report the interval of the real rows{where}: that of one synthetic table leaves out the sampling error of the source."
    return Use("Conclusions about people", "limits", why)


def _single(fidelity: Manifest) -> Use:
    title, record = "Effects of single people or small groups", fidelity.get("cate")
    if not record or "refused" in record or record["mean"]["ratio"] is None:
        return Use(title, "not measured", "No test of single effects was possible.")
    ratio = record["mean"]["ratio"]
    figure = f"effects learnt on it are {fixed(ratio, 2)} times as far from the source's as those of another sample"
    if record["mean"]["spread"] < FAINT * record["mean"]["reference"]:
        return Use(title, "limits", "The source itself hardly tells who benefits more.")
    if ratio <= ALIKE:
        return Use(title, "yes", f"As far as a new sample would carry them: {figure}.")
    return Use(title, "limits" if ratio <= LARGER else "no", f"{figure[0].upper()}{figure[1:]}.")


def _prediction(fidelity: Manifest) -> Use:
    title, score = "Training of models that predict the outcome", next(iter(fidelity.get("tstr") or []), None)
    if score is None or score["trtr"]["value"] is None or score["tstr"]["value"] is None:
        return Use(title, "not measured", "No score was possible.")
    trained, source = score["tstr"]["value"], score["trtr"]["value"]
    worse = (source - trained if score["metric"] == "auc" else trained - source) / (abs(source) or 1.0)
    figure = f"{score['metric'].replace('_', ' ').upper()} {number(trained)} on real rows, {number(source)} when trained on them"
    return Use(title, "yes" if worse <= _AS_GOOD else "limits", f"{figure}.")


def _design(manifest: Manifest) -> Use:
    title = "Exercises in adjusting for confounding"
    if manifest["spec"]["release"]["mode"] == "hybrid" and manifest["spec"]["mechanisms"]["treatment"] == "randomized":
        return Use(title, "no", "Treatment is randomized in the release: there is nothing to adjust for.")
    return Use(title, "yes", "Treatment depends on the covariates; see overlap and balance below.")


def _public() -> Use:
    return Use(
        "Publication without a review of privacy",
        "no",
        "It is screened for copies and not anonymous. The command waymint audit attacks it.",
    )


def remarks(manifest: Manifest) -> list[str]:
    """Comment figures that invite misreading; empty where none does."""
    effects = manifest["effects"]
    release, carried = main_effect(effects, "release"), built_in(effects)
    truth = None if carried is None else carried.value
    decimals, found = effect_decimals(effects), []
    if release and truth is not None and release["ci_low"] is not None and not release["ci_low"] <= truth <= release["ci_high"]:
        found.append(
            f"The release's 95 % interval ({fixed(release['ci_low'], decimals)} to {fixed(release['ci_high'], decimals)}) excludes the "
            f"effect built into it ({fixed(truth, decimals + 1)}). Chance alone brings this about in one release of twenty: the rows are a "
            "random draw around that effect. More rows, or balanced draws, bring the estimate closer."
        )
    source = main_effect(effects, "source")
    if source and truth is not None and source["ci_low"] is not None and not source["ci_low"] <= truth <= source["ci_high"]:
        found.append("The effect built into the release lies outside the source's 95 % interval: do not take it for the source's effect.")
    return found


def population_remark(manifest: Manifest) -> str:
    """Say why effects among the treated and the controls equal the ATE in a randomized release; empty elsewhere."""
    spec = manifest["spec"]
    if spec["release"]["mode"] != "hybrid" or spec["mechanisms"]["treatment"] != "randomized":
        return ""
    return (
        "Treatment is randomized in the release. Its treated, its controls and its overlap population are the same population, so ATT, ATC "
        "and ATO equal the ATE up to chance. In the source they may differ: do not read the gap as an error of the release."
    )
