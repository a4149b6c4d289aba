"""What can be told of a SPEC at once: names of plug-ins, that the source is there, that the store's URI is one. No Prefect needed."""

from __future__ import annotations

from flows.stages.inputs import find_table
from infra.store import open_store
from tasks.contract.registry import require
from tasks.contract.spec import Purpose, Spec


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
    require("synthesizer", spec.covariates.settled(0).synthesizer)
    require("learner", spec.mechanisms.learner)
    if spec.outcome.law != "auto":
        require("law", spec.outcome.law)
    for each in spec.compare.synthesizers:
        require("synthesizer", each.name)
    for learner in spec.simulate.learners:
        require("learner", learner)
    for estimator in () if spec.simulate.estimators == "all" else spec.simulate.estimators:
        require("estimator", estimator)
    open_store(spec.store.uri)
    if purpose == "simulate":
        from flows.stages.simulations import asked  # loads pandas: only who needs it waits

        if asked(spec)[1] is not None:
            return
    find_table(spec.source.uri)
