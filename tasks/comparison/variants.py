"""What is compared: every synthesizer in every mode, once per seed."""

from __future__ import annotations

from typing import NamedTuple

from tasks.contract.spec import Spec
from tasks.contract.spec.compare import ROWS, Mode


class Variant(NamedTuple):
    """One synthesizer in one mode with one seed.

    Attributes
    ----------
    title : str
        What the synthesizer goes by.
    number : int
        Its place in ``compare.synthesizers``.
    mode : str
        ``"hybrid"`` or ``"full"``.
    seed : int
        Decides holdout, folds and draws.
    """

    title: str
    number: int
    mode: Mode
    seed: int

    @property
    def folder(self) -> str:
        """Return the variant's folder in the run's workspace."""
        return f"{seed_folder(self.seed)}/{self.number:02d}-{self.mode}"

    def __str__(self) -> str:
        return f"{self.title}, {self.mode}, seed {self.seed}"


def seeds(spec: Spec) -> list[int]:
    """Return the SPEC's seed and those that follow it."""
    return [(spec.seed + step) % 2**63 for step in range(spec.compare.seeds)]


def seed_folder(seed: int) -> str:
    """Return the folder of what all variants of a seed share: the mechanisms."""
    return f"seed-{seed}"


def variants(spec: Spec, seed: int) -> list[Variant]:
    """Return the variants of one seed: synthesizers in the SPEC's order, modes within."""
    return [
        Variant(candidate.title, number, mode, seed)
        for number, candidate in enumerate(spec.compare.synthesizers)
        for mode in spec.compare.modes
    ]


def seed_spec(spec: Spec, seed: int) -> Spec:
    """Return the SPEC of one seed: one copy, as many rows as each variant releases."""
    rows = spec.compare.rows if spec.compare.rows is not None else min(ROWS, spec.release.rows)
    release = spec.release.model_copy(update={"rows": rows, "copies": 1, "include_nuisances": False})
    return spec.model_copy(update={"seed": seed, "release": release})


def variant_spec(spec: Spec, variant: Variant) -> Spec:
    """Return the SPEC that a release of this variant would have; balanced draws need mechanisms, so mode "full" draws independently."""
    spec_of_seed, candidate = seed_spec(spec, variant.seed), spec.compare.synthesizers[variant.number]
    draws = spec_of_seed.release.draws if variant.mode == "hybrid" else "iid"
    release = spec_of_seed.release.model_copy(update={"mode": variant.mode, "draws": draws})
    covariates = spec_of_seed.covariates.model_copy(update={"synthesizer": candidate.name, "params": dict(candidate.params)})
    return spec_of_seed.model_copy(update={"release": release, "covariates": covariates})
