"""References to what was measured of a release: what the gates' evidence is read from."""

from __future__ import annotations

from typing import NamedTuple

from tasks.contract.refs import ModelRef, PartitionRef, Ref


class Groups(NamedTuple):
    """Fewer rows of each table, to be compared in several groups of columns.

    Attributes
    ----------
    drawn : PartitionRef
        Released rows.
    pools : tuple of PartitionRef
        Distinct training and holdout rows in each group's columns.
    rows : Ref
        npz: ``training`` (N,) bool, which pool rows are training rows, and ``of`` (N, G), which distinct row of each group each of them is;
        with clusters also ``unit`` (N,), the number of each row's cluster.
    names : tuple of str
        Names of the groups.
    columns : tuple of tuple of str
        Names of their columns.
    """

    drawn: PartitionRef
    pools: tuple[PartitionRef, ...]
    rows: Ref
    names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]


class Sample(NamedTuple):
    """Rows that the distance gates judge on: at most ``gates.distance_rows`` of each table.

    Attributes
    ----------
    training, holdout, drawn : PartitionRef
        Covariates of training, holdout and released rows.
    pool : PartitionRef
        Distinct training and holdout rows.
    counts : Ref
        npz: ``pool_training``, ``pool_holdout`` (how often each pool row is in either) and ``release_pairs``; with clusters ``pool_unit``
        (number of each pool row's cluster) and ``unit_training`` (which clusters are training rows).
    groups : Groups or None
        The same in groups of columns; None where training rows or holdout are empty.
    """

    training: PartitionRef
    holdout: PartitionRef
    drawn: PartitionRef
    pool: PartitionRef
    counts: Ref
    groups: Groups | None = None


class Measured(NamedTuple):
    """What was measured of source and release.

    Attributes
    ----------
    source, release : Ref
        Records of effects and overlap; the release's is that of its first copy.
    fidelity : Ref
        Record of the error ledger, TSTR and the exact effect.
    sample : Sample
        Rows that distances were measured on.
    distances : Ref or None
        Arrays of closest-record distances; None where training rows or holdout are empty.
    conformity : tuple of ModelRef
        Of every drawn part.
    balances : tuple of ModelRef
        Calibration of every copy; none in mode "full".
    targetings : tuple of Ref
        Record of each copy's targeting.
    people : Ref
        Record of single effects, assignment and outcomes.
    coverage : Ref or None
        Record of precision and recall; None where training rows or holdout are empty.
    laws : ModelRef or None
        How far the laws of the release lie from the source's; None where they were not compared.
    support : tuple of ModelRef
        Released cells outside the natural support, of every drawn part.
    isolated : Ref or None
        Isolated rows; None where training rows or holdout are empty.
    approaches : tuple of Ref
        How near every drawn part comes to them.
    together : Ref or None
        Record of how several outcomes hang together and what is missing of them; None of one outcome that is known in every row.
    """

    source: Ref
    release: Ref
    fidelity: Ref
    sample: Sample
    distances: Ref | None
    conformity: tuple[ModelRef, ...]
    balances: tuple[ModelRef, ...]
    targetings: tuple[Ref, ...]
    people: Ref
    coverage: Ref | None
    laws: ModelRef | None = None
    support: tuple[ModelRef, ...] = ()
    isolated: Ref | None = None
    approaches: tuple[Ref, ...] = ()
    together: Ref | None = None
