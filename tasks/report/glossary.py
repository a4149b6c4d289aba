"""What the names in a manifest mean, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tasks.contract.gates import gate_row


class Entry(NamedTuple):
    """A name in words, and one line that explains it."""

    title: str
    meaning: str


ESTIMATORS: Mapping[str, Entry] = {
    "adaptive": Entry("Adaptive TMLE", "the estimate the release carries; TMLE where overlap suffices"),
    "tmle": Entry("TMLE", "targeted maximum likelihood"),
    "aipw": Entry("AIPW", "augmented IPW"),
    "ipw": Entry("IPW", "inverse-probability weighting"),
    "or": Entry("OR", "outcome regression (SE of AIPW)"),
}

ESTIMANDS: Mapping[str, Entry] = {
    "mean": Entry("Mean", "of the outcome, were everyone in one arm"),
    "ate": Entry("ATE", "between two of the arms"),
    "att": Entry("ATT", "among the treated"),
    "atc": Entry("ATC", "among the controls"),
    "ato": Entry("ATO", "where the arms overlap most"),
}

LEDGER: Mapping[str, Entry] = {
    "sampling": Entry(
        "Sampling error of the source",
        "The real rows are a sample. How far their estimate is from the truth can't be known, only how far it may be.",
    ),
    "contrast": Entry(
        "Contrast term",
        "Error of the outcome mechanism's effect, averaged over the real rows. In hybrid mode targeting brings it to about zero.",
    ),
    "covariate_law": Entry(
        "Covariate-law term",
        "Synthetic covariates have a law of their own: what the effect feels of it. In hybrid mode calibration brings it to about zero.",
    ),
    "monte_carlo": Entry(
        "Monte-Carlo error",
        "The release is a finite draw: the estimate on its rows against the effect built into them. More rows make it smaller.",
    ),
    "gap": Entry("Release against source", "The three terms above taken together: the release's estimate minus the source's (AIPW)."),
}

METRICS: Mapping[str, Entry] = {
    "rmse": Entry("Root mean squared error", "in units of the outcome; lower is better"),
    "auc": Entry("Area under the ROC curve", "0.5 is chance, 1 is perfect; higher is better"),
    "log_loss": Entry("Log loss", "in nats; lower is better"),
}


def explained_gate(name: str) -> Entry:
    """Return what the table of gates says of a name; a name of another version stands for itself."""
    row = gate_row(name)
    return Entry(name, "") if row is None else Entry(row.title, row.meaning)


KINDS: Mapping[str, str] = {
    "survival": "difference of restricted means of {outcome}",
    "binary": "difference in the probability of {outcome}",
    "count": "difference in the expected count of {outcome}",
    "continuous": "difference in the mean of {outcome}",
}

DESIGNS: Mapping[str, str] = {
    "randomized": "randomized, {probability} treated",
    "fitted": "as in the source",
    "tilted": "source's, tilted × {tilt}",
}


MODES: Mapping[str, str] = {
    "hybrid": "covariates are synthetic; treatment and outcome follow models that are held to the source's effect",
    "full": "one synthesizer draws everything: a baseline",
}

LEARNERS: Mapping[str, str] = {
    "stack": "a weighted average of a ridge regression and boosted trees, weights by cross-validation",
}


def explained(entries: Mapping[str, Entry], name: str) -> Entry:
    """Return what is known of a name; a plug-in's name stands for itself."""
    return entries.get(name, Entry(name, ""))
