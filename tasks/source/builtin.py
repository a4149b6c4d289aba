"""Sources that come with the product's dependencies: no download, no file to find."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from tasks.contract.errors import SourceError, SpecError


class Builtin(NamedTuple):
    """One built-in source, as ``waymint datasets`` lists it."""

    name: str
    description: str
    rows: int
    columns: int
    treatment: str
    outcome: str
    source: str
    citation: str
    licence: str


#: How the URI of a built-in source begins.
BUILTIN = "builtin:"
_PACKAGE = "causaldata"
_LICENCE = "Data of a United States agency, in the public domain; packaged by causaldata under the MIT licence."
BUILTINS: Mapping[str, Builtin] = {
    "nhefs": Builtin(
        name="nhefs",
        description="Smokers of 1971-75 seen again in 1982: does quitting (qsmk) change weight (wt82_71, kg)? Outcome missing in 63 rows.",
        rows=1629,
        columns=67,
        treatment="qsmk",
        outcome="wt82_71",
        source="NHANES I Epidemiologic Follow-up Study, wwwn.cdc.gov/nchs/nhanes/nhefs",
        citation="Hernán MA, Robins JM (2020). Causal Inference: What If. Chapman & Hall/CRC.",
        licence=_LICENCE,
    ),
    "nsw": Builtin(
        name="nsw",
        description="National Supported Work: a randomised job training (treat) and earnings in 1978 (re78, US dollars).",
        rows=445,
        columns=11,
        treatment="treat",
        outcome="re78",
        source="Manpower Demonstration Research Corporation; the sample of Dehejia and Wahba",
        citation="Dehejia RH, Wahba S (1999). J Am Stat Assoc 94:1053-1062. doi:10.1080/01621459.1999.10473858",
        licence="Data published for research by its authors; packaged by causaldata under the MIT licence.",
    ),
}
_FILES = {"nhefs": ("nhefs", "nhefs.dta"), "nsw": ("nsw_mixtape", "nsw_mixtape.dta")}
# measured in kilograms, centimetres and dollars: floats, whatever stands behind the point
_FLOATS = frozenset({"wt82_71", "wt71", "wt82", "ht", "re74", "re75", "re78"})


def require_builtin(name: str) -> None:
    """Refuse a name that is no built-in source.

    Raises
    ------
    SpecError
        With the nearest known name.
    """
    if name not in BUILTINS:
        close = difflib.get_close_matches(name, BUILTINS, n=1)
        hint = f"Did you mean 'builtin:{close[0]}'?" if close else "See 'waymint datasets'."
        raise SpecError(f"uri of source must be a built-in source ({', '.join(BUILTINS)}); got 'builtin:{name}'.", hint)


def load_builtin(name: str) -> pa.Table:
    """Load a built-in source.

    Parameters
    ----------
    name : str
        A key of ``BUILTINS``.

    Returns
    -------
    pyarrow.Table
        Label columns as strings, whole-valued columns as nullable int64, all others as float64.

    Raises
    ------
    SpecError
        If there is no source of that name.
    SourceError
        If the package that carries the data is not installed.
    """
    require_builtin(name)
    package = importlib.util.find_spec(_PACKAGE)  # a top-level package is found, not run: running it takes seconds
    if package is None or not package.submodule_search_locations:
        raise SourceError(f"package of 'builtin:{name}' must be installed; got no '{_PACKAGE}'.", f"Install {_PACKAGE}.")
    path = Path(package.submodule_search_locations[0]).joinpath(*_FILES[name])
    if not path.is_file():
        raise SourceError(f"data of 'builtin:{name}' must be in package '{_PACKAGE}'; got a version without it.", f"Reinstall {_PACKAGE}.")
    from tasks.source.stata import read_table  # pandas takes a second to import: an error about a name must not wait for it

    return read_table(path, _FLOATS)
