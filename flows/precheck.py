"""What can be told of a SPEC at once: names of plug-ins, that the source is there, that the store's URI is one. No Prefect needed."""

from __future__ import annotations

from infra.store import filesystem, open_store
from tasks.contract.errors import SourceError
from tasks.contract.registry import require
from tasks.contract.spec import Spec
from tasks.source.builtin import BUILTIN, require_builtin
from tasks.source.locate import locate


def precheck(spec: Spec) -> None:
    """Refuse what can't work before a server or a cluster is started.

    Parameters
    ----------
    spec : Spec
        A valid SPEC.

    Raises
    ------
    SpecError
        If a synthesizer, learner, estimator or built-in source is not known, or a URI is of no known scheme.
    SourceError
        If the source is not there.
    """
    require("synthesizer", spec.covariates.settled(0).synthesizer)
    require("learner", spec.mechanisms.learner)
    for each in spec.compare.synthesizers:
        require("synthesizer", each.name)
    for learner in spec.simulate.learners:
        require("learner", learner)
    for estimator in () if spec.simulate.estimators == "all" else spec.simulate.estimators:
        require("estimator", estimator)
    open_store(spec.store.uri)
    uri = spec.source.uri
    if uri.startswith(BUILTIN):
        require_builtin(uri.removeprefix(BUILTIN))
        return
    fs, path = filesystem(uri)
    try:
        locate(fs, path, uri)
    except SourceError:
        from flows.simulating import find_parent  # loads pandas: only who needs it waits

        if find_parent(uri) is None:  # STORE/NAME@VERSION is no path
            raise
