"""The request for ``waymint simulate`` on a published release: find it, check it, locate its laws. No Prefect needed."""

from __future__ import annotations

from typing import Any

from flows.stages.arms import share_faults
from flows.stages.inputs import find_release
from flows.stages.study import require_one_outcome
from tasks.contract.errors import SpecError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import RolesSpec, Spec
from tasks.publish.layout import MECHANISMS, copy_folder, version_folder
from tasks.publish.manifest import Manifest
from tasks.simulation.published import Published
from tasks.simulation.request import FromRelease


def resolve_source(spec: Spec) -> tuple[Spec, Manifest | None]:
    """Return what to simulate, and the manifest where the source is a release.

    Parameters
    ----------
    spec : Spec

    Returns
    -------
    tuple of Spec and Manifest or None
        The SPEC as it is where its source is a table; with the release in it, as :class:`FromRelease`, where it is one, so that a run
        is resumed only for the same release.

    Raises
    ------
    SpecError
        If the release is not there, did not keep its mechanisms, has other roles, or can't have the grid's designs.
    StoreError
        If its manifest can't be read.
    """
    release = find_release(spec.source.uri, "source.uri of simulate")
    if release is None:
        return spec, None
    _refuse_other_law(release.manifest)
    _refuse_other_roles(spec.roles, release.manifest)
    _refuse_designs(spec, release.manifest)
    for fault in share_faults(TableSchema.model_validate(release.manifest.table), spec):
        raise fault
    return FromRelease(**dict(spec), parent=release.parent()), release.manifest


def published(manifest: Manifest, store: str, copy: int) -> Published:
    """Tell where one copy of a release keeps its law.

    Parameters
    ----------
    manifest : Manifest
        Of a release that kept its mechanisms.
    store : str
        URI of its store.
    copy : int
    """
    outcome_settings = manifest.spec.get("outcomes", {}).get(manifest.spec["roles"]["outcome"], {})
    declared = outcome_settings.get("range") or manifest.spec["mechanisms"]["outcome_range"]
    return Published(
        store=store,
        folder=version_folder(manifest.name, manifest.version),
        copy=copy,
        parts=tuple(file for file in manifest.files if file.path.startswith(copy_folder(copy))),
        mechanisms=next(file for file in manifest.files if file.path == MECHANISMS),
        outcome_range=None if declared is None else (declared[0], declared[1]),
    )


def cautions(spec: Spec, manifest: Manifest, rows: int) -> list[str]:
    """Say what can't be known from this release, and how to get it.

    Parameters
    ----------
    spec : Spec
    manifest : Manifest
    rows : int
        Covariate rows that data sets are sampled from.
    """
    lines, copies, asked_draws = [], manifest.spec["release"]["copies"], spec.simulate.draws
    if copies == 1:
        lines.append(
            "How uncertain the law itself is can't be known from this release: it holds one copy, hence one draw of the model. "
            f"Mint it with release.copies = {1 + max(asked_draws, 3)}."
        )
    elif copies - 1 < asked_draws:
        lines.append(
            f"The law's own uncertainty is seen in {copies - 1} of the {asked_draws} draws asked for: the release holds {copies} copies. "
            f"Mint it with release.copies = {1 + asked_draws}."
        )
    if max(spec.simulate.rows) > rows:
        lines.append(
            f"Data sets of {max(spec.simulate.rows):,} rows repeat the release's {rows:,} covariate rows: learners that remember rows look "
            "better than they are. Mint more rows."
        )
    return lines


def _refuse_other_law(manifest: Manifest) -> None:
    """Refuse a release that is no table of its own, or that can't say what its rows were drawn from."""
    this, release = f"{manifest.name} version {manifest.version}", manifest.spec["release"]
    if manifest.profile == "augment":
        raise SpecError(
            f"source of simulate must be a whole table; got {this}, which holds added rows only.",
            "Simulate from a release of the table they were made for.",
        )
    require_one_outcome(manifest.table, this, "simulate")
    if TableSchema.model_validate(manifest.table).cluster is not None:
        raise SpecError(
            f"cluster of a release to simulate from must be left out; got {this}, whose mechanisms say nothing of clusters.",
            "Simulate from the table that it was made from.",
        )
    if release["mode"] == "full":
        raise SpecError(
            f"mode of a release to simulate from must be 'hybrid'; got {this}, of mode 'full', which has no mechanisms.",
            'Mint it with release.mode = "hybrid" and release.include_nuisances = true.',
        )
    if manifest.table.get("survival") is not None:
        raise SpecError(
            f"outcome of a release to simulate from must be no time to event; got {this}, which holds no hazards.",
            "Simulate from its source.",
        )
    if not release.get("include_nuisances", False):
        raise SpecError(
            f"include_nuisances of a release to simulate from must be true; got {this}, which did not keep its mechanisms.",
            "Mint it with release.include_nuisances = true.",
        )
    if all(file.path != MECHANISMS for file in manifest.files):
        raise SpecError(
            f"files of a release to simulate from must hold '{MECHANISMS}'; got {this}, which an older waymint minted without.",
            "Mint it again.",
        )


def _refuse_other_roles(roles: RolesSpec, manifest: Manifest) -> None:
    """Refuse roles that are not the release's; keys left at their defaults say nothing."""
    schema, minted = TableSchema.model_validate(manifest.table), manifest.spec["roles"]
    actual: dict[str, Any] = {
        "treatment": schema.treatment.name,
        "outcome": schema.outcome.name,
        "treated": minted["treated"],
        "control": schema.control,
        "outcome_kind": schema.outcome_kind,
        "covariates": tuple(column.name for column in schema.covariates),
    }
    labels = {"treated": schema.treated, "control": schema.control}
    for name, is_so in actual.items():
        wanted = getattr(roles, name)
        said = wanted != RolesSpec.model_fields[name].default
        if name == "covariates":
            same = isinstance(wanted, str) or set(wanted) == set(is_so)
        else:
            same = wanted == is_so or (name in labels and str(wanted) == labels[name])
        if said and not same:
            raise SpecError(
                f"roles.{name} of SPEC must be that of {manifest.name} version {manifest.version}, {_shown(is_so)}; got {_shown(wanted)}.",
                "A release knows its roles: name its treatment and outcome, and leave the other keys out.",
            )


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else f"'{value}'"


def _refuse_designs(spec: Spec, manifest: Manifest) -> None:
    """Refuse designs that need the fitted g where the release holds another one."""
    design = manifest.spec["mechanisms"]["treatment"]
    wanted = [name for name in spec.simulate.designs if name != "randomized"]
    if design != "fitted" and wanted:
        raise SpecError(
            f"designs of simulate must be 'randomized' alone for {manifest.name} version {manifest.version}, whose treatment is {design}: "
            f"it holds no fitted g; got '{wanted[0]}'.",
            'Set simulate.designs = ["randomized"], or mint it with mechanisms.treatment = "fitted".',
        )
