"""Names of the estimators that data sets are tried with, in the order in which they are shown."""

from __future__ import annotations

#: Of the average effect, which every table allows.
ATE = ("or", "ipw", "aipw", "tmle")
#: All that need no subgroup.
ALL = (*ATE, "adaptive", "att", "atc", "ato")
#: Those that simulated data sets with missing outcomes are tried with.
OBSERVED = (*ATE, "adaptive")
#: Without covariates: of a time to event whose events have one cause, and of one with competing causes.
OF_EVENTS, OF_CAUSES = ("km", "logrank"), ("aj",)
UNADJUSTED = (*OF_EVENTS, *OF_CAUSES)
