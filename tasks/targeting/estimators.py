"""Names of the registered estimators in the order in which they are shown."""

from __future__ import annotations

#: Of the average effect, which every table allows.
ATE = ("or", "ipw", "aipw", "tmle")
#: All that need no subgroup.
ALL = (*ATE, "adaptive", "att", "atc", "ato")
#: Those that simulated data sets with missing outcomes are tried with.
OBSERVED = (*ATE, "adaptive")
