"""Checks before any work: of a SPEC alone (names of plug-ins, source, store), and of how many rows its table has. No Prefect needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from flows.stages.inputs import find_table
from flows.stages.survival_checks import time_faults
from infra.store import open_store
from tasks.contract.errors import WaymintError
from tasks.contract.registry import require
from tasks.contract.spec import Purpose, Spec
from tasks.mechanisms.targets import require_carried
from tasks.source.sizes import size_faults, size_warnings
from tasks.targeting.estimators import UNADJUSTED


def precheck(spec: Spec, purpose: Purpose) -> None:
    """Refuse what can't work before a server or a cluster is started.

    Parameters
    ----------
    spec : Spec
        A valid SPEC.
    purpose : str
        The command: to ``simulate`` a source may be a published release.

    Raises
    ------
    SpecError
        If a synthesizer, learner, estimator or built-in source is not known, or a URI is of no known scheme; if a release can't be
        simulated from.
    SourceError
        If the source is not there.
    StoreError
        If the manifest of a release can't be read.
    """
    for fault in early_faults(spec, purpose):
        raise fault


def early_faults(spec: Spec, purpose: Purpose) -> Iterator[WaymintError]:
    """Yield every fault that a SPEC shows before its table is read, each as the error that :func:`precheck` raises."""
    for test in _tests(spec, purpose):
        try:
            test()
        except WaymintError as fault:
            yield fault
    yield from time_faults(spec, purpose)


def check_sizes(spec: Spec, rows: int, arms: Mapping[str, int], purpose: Purpose) -> tuple[str, ...]:
    """Refuse a table too small for what is asked of it, before anything is fitted; return what chance may rule out.

    Parameters
    ----------
    spec : Spec
    rows : int
        Rows with treatment and outcome.
    arms : mapping of str to int
        Rows of each treatment label.
    purpose : str
        The command.

    Raises
    ------
    SourceError, SpecError
        With the smallest setting that would do; see :func:`tasks.source.sizes.size_faults`.
    """
    for fault in size_faults(spec, rows, arms, purpose):
        raise fault
    return size_warnings(spec, rows, arms, purpose)


def _tests(spec: Spec, purpose: Purpose) -> Iterator[Callable[[], object]]:
    names = [("synthesizer", spec.covariates.resolved(0).synthesizer), ("learner", spec.mechanisms.learner)]
    names += [("law", spec.outcome.law)] if spec.outcome.law != "auto" else []
    names += [("synthesizer", each.name) for each in spec.compare.synthesizers]
    names += [("learner", learner) for learner in spec.simulate.learners]
    tried = () if spec.simulate.estimators == "all" else spec.simulate.estimators
    names += [("estimator", name) for name in tried if name not in UNADJUSTED]
    for kind, name in dict.fromkeys(names):
        yield lambda kind=kind, name=name: require(kind, name)  # type: ignore[misc]
    if purpose == "release":
        yield lambda: require_carried(spec)
    yield lambda: open_store(spec.store.uri, options=spec.store)
    yield lambda: _find_source(spec, purpose)


def _find_source(spec: Spec, purpose: Purpose) -> None:
    if purpose == "simulate":
        from flows.stages.simulations import resolve_source  # loads pandas: imported where it is needed

        if resolve_source(spec)[1] is not None:
            return
    find_table(spec.source.uri)
