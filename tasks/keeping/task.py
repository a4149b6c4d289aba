"""Tasks of keeping: seal the models of a copy, and open them in the workspace of another run."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from infra.cluster import coarse
from infra.sealing import seal as seal_bytes
from infra.sealing import unseal
from infra.store import open_store
from infra.workspace import Run
from tasks.contract.errors import EstimationError, StoreError
from tasks.contract.refs import FileRef, ModelRef, Ref
from tasks.keeping.bundle import MOST_BYTES, Bundle, pack, references, unpack
from tasks.mechanisms.task import Models

#: Bytes that sealing adds.
_TAG = 16
#: Records beside the models that reports and manifests read: what rows keep of the table, how training went.
_RECORDS = ("traits.json", "curve.json", "card.json")


class Kept(NamedTuple):
    """What a copy is drawn from, and how its outcome was targeted."""

    models: Models
    targeting: Ref


def owner_of(name: str, copy: int) -> str:
    """Return under which name a copy's models are sealed: those of another release or copy do not open as this one's."""
    return f"copy {copy} of {name}"


@coarse("seal models", "seal models of copy {copy}")
def seal(run: Run, models: Models, targeting: Ref, copy: int, key: str) -> Ref:
    """Put everything one copy is drawn from into one sealed object of that name."""
    space = run.space()
    if (done := space.finished(key, Ref)) is not None:
        return done
    heart = space.put_model(f"models/copy-{copy}.kept", Kept(models, targeting))
    objects = {ref.key: space.read(ref.key) for ref in (heart, *references((models, targeting)))}
    for name in _RECORDS:
        for draw in {0, copy}:
            record = f"covariates/copy-{draw}.{name}"
            if space.record(record) is not None:
                objects[record] = space.read(record)
    return space.put_bytes(key, seal_bytes(pack(Bundle(heart.key, objects)), owner_of(run.spec.name, copy)))


@coarse("open models", "open models of copy {copy}")
def unlock(run: Run, folder: str, file: FileRef, copy: int) -> Kept:
    """Read a copy's sealed models from a release, and lay its objects into the run's workspace under their names.

    Parameters
    ----------
    run : Run
        Of further rows; its store holds the release.
    folder : str
        Key prefix of the release's version, with its slash.
    file : FileRef
        The sealed models, as the manifest lists them.
    copy : int
        Number of the copy.

    Raises
    ------
    StoreError
        If the file is not the manifest's, or was not sealed with this user's key.
    EstimationError
        If it was written by a version of the code that this one can't read.
    """
    space, owner = run.space(), f"{run.spec.name} ({folder}{file.path})"
    data = open_store(run.spec.store.uri, options=run.spec.store).get(folder + file.path, min(file.bytes, MOST_BYTES + _TAG))
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise StoreError(f"models of {owner} must be as the manifest says; got other bytes.", "See 'waymint releases verify'.")
    bundle = unpack(unseal(data, owner_of(run.spec.name, copy)), owner)
    for name, content in bundle.objects.items():
        if name.endswith(".json") and name.startswith("covariates/"):
            space.put_plain(name, content)
        else:
            space.put_bytes(name, content)
    heart = bundle.objects[bundle.heart]
    try:
        kept: Kept = space.unpickle(ModelRef(key=bundle.heart, sha256=hashlib.sha256(heart).hexdigest(), bytes=len(heart)))
        for ref in references(kept.models):
            space.unpickle(ref)
    except (AttributeError, ImportError, TypeError, ValueError, KeyError) as error:
        raise EstimationError(
            f"models of {owner} must be readable by this version of waymint and its packages; got {type(error).__name__}.",
            "'waymint releases show' names the versions that kept them. Draw from the source instead: --source URI.",
        ) from None
    return kept
