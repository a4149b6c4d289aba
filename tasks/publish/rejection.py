"""What stays of a run that failed a gate: checks and report, never rows."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.contract.errors import StoreError
from tasks.contract.store import Store
from tasks.publish.layout import checked_path, rejected_folder

# what checks and report consist of; everything else could hold rows
_ROWLESS = (".css", ".html", ".ico", ".jpeg", ".jpg", ".js", ".json", ".md", ".png", ".svg", ".ttf", ".txt", ".woff", ".woff2")


def reject(store: Store, name: str, run_id: str, files: Mapping[str, bytes]) -> str:
    """Keep checks and report of a run that failed a gate, never rows.

    Parameters
    ----------
    store : Store
        Where the release would have landed.
    name, run_id : str
        The release name and the run.
    files : mapping of str to bytes
        By path; a run that is rejected again replaces its own.

    Returns
    -------
    str
        URI of the folder.

    Raises
    ------
    StoreError
        If a file could hold rows; nothing is written then.
    """
    folder = rejected_folder(name, run_id)
    for path, data in files.items():
        checked_path(path)
        if not path.lower().endswith(_ROWLESS) or data.startswith(b"PAR1"):
            raise StoreError(f"path of rejected file must end in one of {', '.join(_ROWLESS)}; got '{path}'.", "Rows are never kept.")
    for path, data in sorted(files.items()):
        store.put(folder + path, data)
    return f"{store.uri}/{folder}".rstrip("/")
