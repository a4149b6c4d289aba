"""Inference from released copies: combining rules for fully synthetic tables.

With V the variance of the source's own estimate, U the variance of an estimate on a table of k rows drawn from a known law, and m copies,
the mean of the copies' estimates has, about the truth, the variance

    V + (V + U) / m    where each copy redraws the mechanisms (proper: posterior or Bayesian bootstrap),
    V + U / m          where all copies come from one fit (simple).

The rules differ in how they learn V. None of them repairs a mechanism that is biased: they carry sampling error only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from tasks.contract.errors import EstimationError, SpecError
from tasks.contract.results import Estimate
from tasks.numerics.normal import Z95

Rule = Literal["auto", "source", "raghunathan", "raab"]


class Combined(NamedTuple):
    """One estimate from m copies.

    Attributes
    ----------
    estimate, se, ci_low, ci_high : float
        In units of the outcome; the interval is two-sided at 95 %.
    df : float
        Degrees of freedom of the t reference, infinite for the normal one.
    rule : str
        The rule that was used: ``"source"``, ``"raghunathan"``, ``"raghunathan-fallback"`` or ``"raab"``.
    copies : int
        m.
    between, within : float
        B, the variance between the copies' estimates (NaN for one copy); Ubar, the mean of their variances.
    """

    estimate: float
    se: float
    ci_low: float
    ci_high: float
    df: float
    rule: str
    copies: int
    between: float
    within: float


def combine(
    estimates: Sequence[float],
    variances: Sequence[float],
    rows_released: int,
    rows_source: int,
    rule: Rule = "auto",
    source_variance: float | None = None,
    proper: bool = True,
    same_design: bool = False,
    balanced: bool = False,
) -> Combined:
    """Combine one estimator's results over copies.

    * ``"source"``: V is the published variance of the source's estimate. Right for every design; needs the manifest.
    * ``"raghunathan"``: T = (1 + 1/m) B - Ubar (Raghunathan, Reiter, Rubin 2003; proper copies only), with a t reference of
      (m - 1)(1 - Ubar / ((1 + 1/m) B))^2 degrees of freedom, at least 1. Right for every design, noisy for few copies. Where T is not
      positive, T = Ubar k / n (Reiter 2002) with the normal reference.
    * ``"raab"``: V = Ubar k / n, hence T = Ubar (k/n + (1 + k/n)/m) for proper and Ubar (k/n + 1/m) for simple copies (Raab, Nowok, Dibben
      2016, DOI 10.29012/jpc.v7i3.407). Works with one copy, but only where a released row carries as much information as a source row:
      **not** where the release randomises a treatment that the source observed.
    * ``"auto"``: "source" where its variance is given, else "raab" where the design is the same, else "raghunathan".

    Parameters
    ----------
    estimates, variances : sequence of float, length m
        q_j and u_j, in units of the outcome and its square.
    rows_released, rows_source : int
        k, the rows of each copy, and n, the rows the mechanisms were fitted on.
    rule : str
    source_variance : float, optional
        V, for the rule "source".
    proper : bool
        Whether each copy redraws the mechanisms.
    same_design : bool
        Whether the release assigns treatment as the source did.
    balanced : bool
        Whether treatments and outcomes were drawn balanced: copies then scatter less than their variances say, so that what rule
        "raghunathan" subtracts was never added.

    Returns
    -------
    Combined

    Raises
    ------
    SpecError
        If the rule can't be used with what is given.
    EstimationError
        If there is no copy, or a variance is not a positive number.

    References
    ----------
    Raghunathan, Reiter, Rubin 2003, Journal of Official Statistics 19(1), 1-16. Reiter 2002, Journal of Official Statistics 18(4), 531-543.
    """
    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    m = len(q)
    if m == 0 or q.shape != u.shape or not (np.isfinite(q).all() and np.isfinite(u).all() and (u >= 0.0).all()):
        raise EstimationError(f"copies to combine must be at least 1, with finite estimates and variances; got {m} and {len(u)}.")
    if min(rows_released, rows_source) < 1:
        raise EstimationError(f"rows of a release and its source must be at least 1; got {rows_released} and {rows_source}.")
    chosen = _choose(rule, m, source_variance, proper, same_design, balanced)
    ratio = rows_released / rows_source
    within = float(np.mean(u))
    between = float(np.var(q, ddof=1)) if m > 1 else math.nan
    df = math.inf
    if chosen == "raghunathan":
        variance, df, chosen = _raghunathan(between, within, m, ratio)
    else:
        v = within * ratio if chosen == "raab" or source_variance is None else source_variance
        variance = v + (v + within if proper else within) / m
    se = math.sqrt(variance)
    reach = (Z95 if math.isinf(df) else float(stats.t.ppf(0.975, df))) * se
    point = float(np.mean(q))
    return Combined(point, se, point - reach, point + reach, df, chosen, m, between, within)


def combine_estimates(
    copies: Sequence[Sequence[Estimate]],
    rows_source: int,
    rule: Rule = "auto",
    source: Sequence[Estimate] | None = None,
    proper: bool = True,
    same_design: bool = False,
) -> list[Estimate]:
    """Combine whole lists of estimates, estimand by estimand and estimator by estimator.

    Parameters
    ----------
    copies : sequence of lists of Estimate
        One list per copy, as ``evaluate`` returns it.
    rows_source : int
        Rows the mechanisms were fitted on.
    rule, proper, same_design
        As for :func:`combine`.
    source : list of Estimate, optional
        The source's own estimates: their standard errors serve the rule "source" where estimand and estimator are among them.

    Returns
    -------
    list of Estimate
        In the first copy's order; ``n`` is the rows of one copy, ``ess`` and ``clipped`` are means over copies.

    Raises
    ------
    EstimationError
        If the copies don't hold the same estimands and estimators.
    """
    if not copies:
        raise EstimationError("copies to combine must be at least 1; got 0.")
    tables = [{_key(one): one for one in copy} for copy in copies]
    if any(table.keys() != tables[0].keys() for table in tables):
        raise EstimationError("copies to combine must hold the same estimators; got different ones.")
    published = {_key(one): one.se**2 for one in source or ()}
    results = []
    for key, first in tables[0].items():
        ones = [table[key] for table in tables]
        combined = combine(
            [one.estimate for one in ones], [one.se**2 for one in ones], first.n, rows_source, rule, published.get(key), proper, same_design
        )
        results.append(
            first._replace(
                estimate=combined.estimate,
                se=combined.se,
                ci_low=combined.ci_low,
                ci_high=combined.ci_high,
                ess=float(np.mean([one.ess for one in ones])),
                clipped=float(np.mean([one.clipped for one in ones])),
            )
        )
        limits = joint_limits(first, combined.estimate, combined.se)
        if limits:
            results[-1] = results[-1]._replace(joint_low=limits["joint_low"], joint_high=limits["joint_high"])
    return results


def joint_limits(first: Estimate, estimate: float, se: float) -> dict[str, float]:
    """Return the simultaneous limits of a combined estimate: as many standard errors wide as those of one copy; empty of two arms."""
    if first.joint_low is None or first.joint_high is None or not first.se > 0.0:
        return {}
    half = 0.5 * (first.joint_high - first.joint_low) / first.se * se
    return {"joint_low": estimate - half, "joint_high": estimate + half}


def _key(one: Estimate) -> tuple[str | None, str, str, str | None, str | None]:
    return one.outcome, one.estimand, one.estimator, one.arm, one.control


def _choose(rule: Rule, m: int, source_variance: float | None, proper: bool, same_design: bool, balanced: bool) -> str:
    if source_variance is not None and not (math.isfinite(source_variance) and source_variance >= 0.0):
        raise EstimationError("source_variance of the combining rule must be finite and at least 0; got another value.")
    chosen: str = rule
    if rule == "auto":
        chosen = "source" if source_variance is not None else "raab" if same_design else "raghunathan"
    if chosen not in ("source", "raghunathan", "raab"):
        raise SpecError(f"rule of combine must be auto, source, raghunathan or raab; got '{rule}'.")
    if chosen == "source" and source_variance is None:
        raise SpecError("source_variance of combine must be given for rule 'source'; got none.", "It is in the release's manifest.")
    if chosen == "raghunathan" and m < 2:
        raise SpecError(
            "copies of combine must be at least 2 for rule 'raghunathan'; got 1.", "Give source_variance: it is in the manifest."
        )
    if chosen == "raghunathan" and not proper:
        raise SpecError("copies of combine must be proper for rule 'raghunathan'; got copies of one fit.", "Give source_variance instead.")
    if chosen == "raghunathan" and balanced:
        raise SpecError(
            "draws of copies to combine must be iid for rule 'raghunathan'; got balanced ones.",
            "Give source_variance: it is in the manifest.",
        )
    return chosen


def _raghunathan(between: float, within: float, m: int, ratio: float) -> tuple[float, float, str]:
    spread = (1.0 + 1.0 / m) * between
    if spread <= within:
        return within * ratio, math.inf, "raghunathan-fallback"
    df = max(1.0, (m - 1) * (1.0 - within / spread) ** 2)
    return spread - within, df, "raghunathan"
