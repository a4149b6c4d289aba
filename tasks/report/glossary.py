"""What the names in a manifest mean, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


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

GATES: Mapping[str, Entry] = {
    "near_copies": Entry(
        "Near copies", "p-value of the excess of released rows that lie next to a row the synthesizer saw; small means copies."
    ),
    "exact_copies": Entry("Exact copies", "p-value of the excess of released rows that are identical to a row the synthesizer saw."),
    "closeness_z": Entry(
        "Closeness to seed rows", "Are released rows closer to rows the synthesizer saw than to rows it never saw? z of the excess."
    ),
    "closeness_excess": Entry(
        "Closeness, how large",
        "Share of released rows closest to a seed row, less what is expected: its interval must lie below the bound.",
    ),
    "closeness_groups": Entry(
        "Closeness in some columns", "p-value of the largest closeness over groups of columns; small means that rows were copied in part."
    ),
    "holdout_budget": Entry("Holdout not used up", "How often releases of this source may still fail by the same held-out rows."),
    "holdout_query": Entry(
        "Holdout asked with noise",
        "How much better the release knows seed than held-out rows, in standard deviations; 0 says no difference.",
    ),
    "membership_tpr": Entry("Attack: membership", "Share of seed rows that an attacker recognises at 1 % false alarms."),
    "membership_auc": Entry(
        "Attack: membership, all rows", "Area under the curve of telling seed rows from held-out rows; 0.5 is guessing."
    ),
    "attribute_advantage": Entry("Attack: attributes", "How much better a column of seed rows is rebuilt than that of held-out rows."),
    "linkability_advantage": Entry("Attack: linkability", "How many more seed rows than held-out rows are put together from two halves."),
    "singling_out_advantage": Entry("Attack: singling out", "How many more predicates single out a seed row than a held-out row."),
    "dcr_margin": Entry(
        "Distance to the closest record", "5th percentile of the release's distances to seed rows over that of held-out rows; 1 is as far."
    ),
    "fidelity": Entry("Effect kept", "Distance between the effects of release and source, in combined standard errors."),
    "calibration": Entry(
        "Covariates calibrated", "How far the covariates' means had to stay from the source's: 0 is not at all, 1 is no calibration."
    ),
    "source_overlap": Entry(
        "Overlap in the source", "Share of real rows that almost surely belong to one arm: for them there is no comparison."
    ),
    "source_ess": Entry("Effective rows of the source", "Effective share of the arm that inverse weights strain most; 1 is no strain."),
    "min_arm": Entry("Smallest arm", "Real rows in the smaller arm."),
    "release_overlap": Entry("Overlap in the release", "Share of released rows that almost surely belong to one arm."),
    "columns": Entry("Columns", "Differences in names, order and types of columns between release and source."),
    "levels": Entry("Values", "Released cells with a value that the source's columns can't have."),
}

KINDS: Mapping[str, str] = {
    "binary": "difference in the probability of {outcome}",
    "count": "difference in the expected count of {outcome}",
    "continuous": "difference in the mean of {outcome}",
}

DESIGNS: Mapping[str, str] = {
    "randomized": "randomized, {probability} treated",
    "fitted": "as in the source",
    "tilted": "source's, tilted × {tilt}",
}


def explained(entries: Mapping[str, Entry], name: str) -> Entry:
    """Return what is known of a name; a plug-in's name stands for itself."""
    return entries.get(name, Entry(name, ""))
