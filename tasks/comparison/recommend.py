"""Which synthesizer to take, why, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from scipy.stats import t as student

from tasks.comparison.row import SOURCE_GATES, Row
from tasks.comparison.spread import Spread
from tasks.comparison.summary import Summary, squared_error
from tasks.contract.spec.compare import Mode

LEVEL = 0.95
#: Effect errors that differ by no more than this, in standard errors of the source, are alike: the covariates decide.
ALIKE = 0.25
#: A difference is within its error up to so many of its standard errors.
BEYOND = 2.0


class Recommendation(BaseModel):
    """What to take.

    Attributes
    ----------
    synthesizer : str or None
        None where nothing can be recommended.
    mode : str or None
        ``"hybrid"``: mode "full" is the baseline and never recommended.
    reason : str
        In words, with its uncertainty.
    undecided : tuple of str
        Synthesizers whose effect error does not differ from the smallest one beyond its interval.
    left_out : dict of str to str
        Hybrids that were not considered, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    synthesizer: str | None
    mode: Mode | None
    reason: str
    undecided: tuple[str, ...] = ()
    left_out: dict[str, str] = {}


class Difference(NamedTuple):
    """A mean of differences over seeds with its 95 % interval; infinite ends where there is one seed only."""

    mean: float
    low: float
    high: float


def recommend(summaries: Sequence[Summary], rows: Sequence[Row]) -> Recommendation:
    """Recommend the hybrid with the smallest effect error among those whose gates hold.

    Gates hold where a release would have passed them in more than half of the seeds. Effect errors are the root mean square over
    estimators and seeds, in standard errors of the source. Errors within ``ALIKE`` of the smallest that are not larger beyond chance
    count as equal to it: of those, the one with the smallest two-sample AUC is taken if that AUC is smaller beyond its error. Two
    synthesizers are compared seed by seed (they share mechanisms, folds and holdout) by a t-interval of their squared errors' difference.

    Parameters
    ----------
    summaries : sequence of Summary
    rows : sequence of Row
        The rows that the summaries are computed from.

    Returns
    -------
    Recommendation
    """
    hybrids = [each for each in summaries if each.mode == "hybrid"]
    if not hybrids:
        reason = (
            "Nothing is recommended: mode 'hybrid' did not take part, and mode 'full' is a baseline whose effect nothing holds in place."
        )
        return Recommendation(synthesizer=None, mode=None, reason=reason)
    left_out = {each.synthesizer: why for each in hybrids if (why := _fault(each))}
    eligible = [each for each in hybrids if each.synthesizer not in left_out]
    if not eligible:
        reasons = "; ".join(f"{name}: {why}" for name, why in left_out.items())
        return Recommendation(
            synthesizer=None, mode=None, reason=f"Nothing is recommended: no hybrid qualifies ({reasons}).", left_out=left_out
        )
    by_seed = {each.synthesizer: {row.seed: row for row in rows if _is_of(row, each)} for each in eligible}
    best = min(eligible, key=_size)
    close = [each for each in eligible if each is best or not _larger(by_seed[each.synthesizer], by_seed[best.synthesizer])]
    alike = [each for each in close if _size(each) <= _size(best) + ALIKE]
    clearer = [each for each in alike if _clearer(each, best)]
    taken = min(clearer, key=lambda each: (_auc(each), _size(each))) if clearer else best
    undecided = tuple(each.synthesizer for each in close if each is not taken)
    reason = " ".join(
        part for part in (_because(taken, best, alike, close, eligible), _excluded(left_out), _source_faults(hybrids)) if part
    )
    return Recommendation(synthesizer=taken.synthesizer, mode=taken.mode, reason=reason, undecided=undecided, left_out=left_out)


def difference(
    left: Mapping[int, Row], right: Mapping[int, Row], value: Callable[[Row], float | None], level: float = LEVEL
) -> Difference | None:
    """Return the mean difference of a figure over the seeds that both have, with a t-interval; None where there is no such seed."""
    pairs = [(value(left[seed]), value(right[seed])) for seed in left.keys() & right.keys()]
    gaps = sorted(a - b for a, b in pairs if a is not None and b is not None)
    if not gaps:
        return None
    mean = math.fsum(gaps) / len(gaps)
    if len(gaps) == 1:
        return Difference(mean, -math.inf, math.inf)
    error = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1) / len(gaps))
    half = float(student.ppf(0.5 + level / 2, len(gaps) - 1)) * error
    return Difference(mean, mean - half, mean + half)


def _is_of(row: Row, summary: Summary) -> bool:
    return row.refused is None and row.synthesizer == summary.synthesizer and row.mode == summary.mode


def _fault(summary: Summary) -> str:
    """Say why a hybrid does not qualify; empty where it does."""
    if summary.seeds == 0:
        return f"could not be made ({summary.refused[0].rstrip('.')})" if summary.refused else "could not be made"
    if summary.size is None:
        return "its effect error is not known"
    if 2 * summary.passed <= summary.seeds:
        failed = (f"{name} in {count}" for name, count in summary.gates_failed.items() if name not in SOURCE_GATES)
        return f"fails {', '.join(failed)} of {summary.seeds} {_seeds(summary.seeds)}"
    return ""


def _size(summary: Summary) -> float:
    return math.inf if summary.size is None else summary.size.mean


def _auc(summary: Summary) -> float:
    """Return the two-sample AUC, a value below one half counting as one half; the worst where it is not known."""
    figure = summary.figures.get("c2st_auc")
    return 1.0 if figure is None else max(0.5, figure.mean)


def _clearer(left: Summary, right: Summary) -> bool:
    """Return whether released covariates are harder to tell from real ones, beyond the errors of both AUCs where these are known."""
    auc, other = left.figures.get("c2st_auc"), right.figures.get("c2st_auc")
    if auc is None:
        return False
    errors = (auc.mcse, None if other is None else other.mcse)
    margin = 0.0 if None in errors else BEYOND * math.hypot(*(error or 0.0 for error in errors))
    return _auc(right) - _auc(left) > margin


def _larger(row_of: Mapping[int, Row], best: Mapping[int, Row]) -> bool:
    gap = difference(row_of, best, squared_error)
    return gap is not None and gap.low > 0.0


def _because(taken: Summary, best: Summary, alike: Sequence[Summary], close: Sequence[Summary], eligible: Sequence[Summary]) -> str:
    seeds = f"{taken.seeds} {_seeds(taken.seeds)}"
    parts = [
        f"Take {taken.synthesizer} in mode hybrid: estimates on its releases were off by {_written(taken.size, 2)} standard errors "
        f"of the source's own estimate (root mean square over OR, IPW, AIPW, TMLE and {seeds})."
    ]
    others = [each for each in alike if each is not taken]
    if others:
        parts.append(f"The error of {_named(others)} is about the same (within {ALIKE:g}){_why_not(taken)}.")
        parts.append(_by_looks(taken, min(others, key=_auc) if taken is best else best))
    unsure = [each for each in close if each not in alike]
    if unsure:
        first = "" if others else "It is the smallest error. "
        parts.append(f"{first}That of {_named(unsure)} is larger, but chance may explain it{_why_not(taken)}.")
    worse = [each for each in eligible if each not in close]
    if worse:
        parts.append(f"The error of {_named(worse)} is larger beyond chance.")
    if len(eligible) == 1:
        parts.append("No other hybrid qualified, so this is no choice among several.")
    return " ".join(parts)


def _named(summaries: Sequence[Summary]) -> str:
    return ", ".join(f"{each.synthesizer} ({_written(each.size, 2)})" for each in summaries)


def _by_looks(taken: Summary, second: Summary) -> str:
    """Say how the two-sample AUC decided, and whether it could: by the errors that the table shows."""
    auc, other = taken.figures.get("c2st_auc"), second.figures.get("c2st_auc")
    if auc is None:
        return "The holdout is too small for a two-sample test, so the smaller error alone decided."
    pair = f"(two-sample AUC {_written(auc, 3)} against {_written(other, 3)} of {second.synthesizer})"
    if other is None:
        return f"Its covariates could be tested against real ones, those of {second.synthesizer} could not {pair}."
    if auc.mcse is None or other.mcse is None:
        harder = "harder to tell" if _clearer(taken, second) else "no easier to tell"
        return f"Its covariates are {harder} from real ones {pair}, in one seed."
    if not _clearer(taken, second):
        return f"Covariates are as hard to tell from real ones {pair}, within error, so the smaller error decided."
    decided = "and that decided" if _size(taken) > _size(second) else "too"
    return f"Its covariates are harder to tell from real ones {pair}, {decided}."


def _why_not(summary: Summary) -> str:
    return ": one seed can't tell" if summary.seeds == 1 else ""


def _excluded(left_out: Mapping[str, str]) -> str:
    return f"Left out: {'; '.join(f'{name} {why}' for name, why in left_out.items())}." if left_out else ""


def _source_faults(hybrids: Sequence[Summary]) -> str:
    """Say which gates on the source would stop any release."""
    names = sorted({name for each in hybrids for name in each.gates_failed if name in SOURCE_GATES})
    return (
        f"No release of this source would be published as things are: {', '.join(names)} fails whatever the synthesizer." if names else ""
    )


def _written(figure: Spread | None, decimals: int) -> str:
    if figure is None:
        return "an unknown number of"
    return f"{figure.mean:.{decimals}f}" + ("" if figure.mcse is None else f" ± {figure.mcse:.{decimals}f}")


def _seeds(count: int) -> str:
    return "seed" if count == 1 else "seeds"
