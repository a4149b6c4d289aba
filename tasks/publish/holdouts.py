"""The ledger of a holdout: its queries, by every release of its source under any name.

Queries are numbered objects that are only ever added, each by a conditional put: of two writers that want one number exactly one
gets it; the other reads the new entries and queries again. So no charge is lost, without a lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from tasks.contract.budget import Answer, Entry, Query, Terms, answer
from tasks.contract.errors import StoreConflict, StoreError
from tasks.contract.store import Store
from tasks.publish.layout import holdout_key, holdouts_folder
from tasks.publish.manifest import MOST_BYTES


class Splits(NamedTuple):
    """How often one source was cut into training rows and holdout.

    Attributes
    ----------
    earlier : int
        Holdouts of it with at least one query; this one counts once it has one.
    charged : int
        Charges of all of them together.
    """

    earlier: int
    charged: int


def read_entries(store: Store, holdout: str) -> list[Entry]:
    """Read the queries of a holdout, in order.

    Raises
    ------
    StoreError
        If an entry is damaged, or one between others is missing: a ledger that forgets is none.
    """
    folder = holdouts_folder(holdout)
    keys = [item.key for item in store.list(folder)]
    if keys != [holdout_key(holdout, number) for number in range(1, len(keys) + 1)]:
        raise StoreError(
            f"questions in {folder} of {store.uri} must be numbered without a gap; got {len(keys)} that are not.",
            "Bring back what was removed there, or judge by another holdout: set another seed.",
        )
    return [_read(store, key) for key in keys]


def ask(store: Store, holdout: str, query: Query, terms: Terms) -> Answer:
    """Ask a holdout without writing; see :func:`tasks.contract.budget.answer`."""
    return answer(holdout, read_entries(store, holdout), query, terms)


def keep(store: Store, holdout: str, answered: Answer, entry: Entry) -> bool:
    """Write down a question and its answer.

    Parameters
    ----------
    store : Store
    holdout : str
        Its name.
    answered : Answer
        What :func:`ask` returned; a recorded or spent one is not written.
    entry : Entry
        What to write.

    Returns
    -------
    bool
        False if another writer has recorded a query since: query again.
    """
    if answered.recorded or answered.spent:
        return True
    try:
        store.put_new(holdout_key(holdout, answered.earlier + 1), f"{entry.model_dump_json(indent=2)}\n".encode())
    except StoreConflict:
        return False
    return True


def splits(store: Store, holdout: str) -> Splits:
    """Count the holdouts that the holdout's source was judged by, and their charges."""
    counts: dict[str, int] = {}
    for item in store.list(holdouts_folder(holdout.partition("-")[0])):
        folder = item.key.rpartition("/")[0]
        counts[folder] = counts.get(folder, 0) + _read(store, item.key).charged
    return Splits(len(counts), sum(counts.values()))


def holdout_record(name: str, cut: Splits, answered: Answer, charged: bool, terms: Terms) -> dict[str, Any]:
    """Return what a manifest says of its holdout.

    Parameters
    ----------
    name : str
        Which holdout.
    cut : Splits
        How often its source was cut.
    answered : Answer
        What it answered.
    charged : bool
        Whether this release cost it something.
    terms : Terms
        How it answers.

    Returns
    -------
    dict
        ``name``, ``budget``, ``left`` (before this release), ``charged``, ``asked_before``, ``repeated``, and of the source
        ``splits`` and ``splits_charged``: how many holdouts of it have queries in this store, and their charges together.
    """
    return {
        "name": name,
        "budget": terms.budget,
        "left": answered.left,
        "charged": charged and not answered.spent,
        "spent": answered.spent,
        "asked_before": answered.earlier,
        "repeated": answered.recorded,
        "splits": cut.earlier,
        "splits_charged": cut.charged,
    }


def holdout_cautions(record: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Say where a source was cut anew after its gates had failed: a split chosen because its gates pass is no evidence."""
    if record is None or record["splits"] < 2 or not record["splits_charged"]:
        return ()
    return (
        f"Releases of this source in this store were judged by {record['splits']} different holdouts and failed by them "
        f"{record['splits_charged']} times: a split chosen because its gates pass proves nothing (docs/gates.md).",
    )


def _read(store: Store, key: str) -> Entry:
    try:
        return Entry.model_validate_json(store.get(key, MOST_BYTES))
    except ValidationError:
        raise StoreError(f"question to a holdout must be readable; got a damaged '{key}' in {store.uri}.") from None
