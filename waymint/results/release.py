"""A published release."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.contract.errors import SpecError
from tasks.contract.headline import built_in, main_effect, main_estimand
from waymint.results.result import Result

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure

    from tasks.publish.manifest import Manifest

COLUMNS = ("table", "estimand", "estimator", "estimate", "se", "ci_low", "ci_high", "n")
GATE_COLUMNS = ("name", "status", "value", "rule", "threshold", "detail")


@dataclass(frozen=True, repr=False)
class Release(Result):
    """A published release: its rows are read on first use, each file checked against its SHA-256 in the manifest."""

    PLOTS = ("effects", "overlap", "cate", "margins")

    @classmethod
    def of(cls, reply: Mapping[str, Any]) -> Release:
        """Make one of the reply of a flow."""
        return cls(reply)

    @classmethod
    def load(cls, uri: str) -> Release:
        """Read the manifest of a release in a store."""
        from infra.store import open_store, split_release_uri
        from tasks.publish.layout import version_folder
        from tasks.publish.releases import show

        where, name, version = split_release_uri(uri)
        store = open_store(where)
        manifest = show(store, name, version)
        folder = f"{store.uri}/{version_folder(name, manifest.version)}".rstrip("/")
        return cls({"status": "published", "uri": folder, "version": manifest.version, "manifest": manifest.as_dict()})

    @property
    def uri(self) -> str:
        """Folder of the release."""
        return str(self.reply["uri"])

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What the release says of itself."""
        manifest: Mapping[str, Any] = self.reply["manifest"]
        return manifest

    @property
    def name(self) -> str:
        """Name in the store."""
        return str(self.manifest["name"])

    @property
    def version(self) -> int:
        """Version, from 1."""
        return int(self.manifest["version"])

    @property
    def copies(self) -> int:
        """Number of copies."""
        return int(self.manifest["spec"]["release"]["copies"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before using the release."""
        return tuple(self.manifest.get("warnings", ()))

    @property
    def report(self) -> str:
        """URI of the report, a page for a browser."""
        return f"{self.uri.rstrip('/')}/report.html"

    def frame(self, copy: int = 0) -> pd.DataFrame:
        """Return the released rows.

        Parameters
        ----------
        copy : int
            Which copy, in [0, copies).
        """
        frame: pd.DataFrame = self.to_arrow(copy).to_pandas()
        return frame

    def to_pandas(self, copy: int = 0) -> pd.DataFrame:
        """Return the released rows; the same as :meth:`frame`."""
        return self.frame(copy)

    def to_arrow(self, copy: int = 0) -> pa.Table:
        """Return the released rows as an Arrow table.

        Raises
        ------
        SpecError
            If there is no such copy.
        StoreError
            If a file is missing or not what the manifest says.
        """
        import pyarrow as pa

        from infra.store import open_store, split_release_uri
        from tasks.publish.layout import copy_folder
        from tasks.publish.releases import sound_table

        if not 0 <= copy < self.copies:
            raise SpecError(f"copy of {self.name} version {self.version} must be in 0 to {self.copies - 1}; got {copy}.")
        store, manifest = open_store(split_release_uri(self.uri)[0]), self._record()
        parts = [file for file in manifest.files if file.path.startswith(copy_folder(copy))]
        read = [sound_table(store, self.name, self.version, file) for file in parts]
        return pa.concat_tables(read).unify_dictionaries()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the rows of copy 0 to any library with the Arrow PyCapsule interface, such as polars."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def effects(self) -> pd.DataFrame:
        """Return all estimates: of the source, of the release, and those of the release valid for the source's population.

        Of added rows: of the source before, and after they were added.
        """
        import pandas as pd

        return pd.DataFrame(self._effect_rows(), columns=list(COLUMNS))

    def gates(self) -> pd.DataFrame:
        """Return the gates with value and threshold."""
        import pandas as pd

        return pd.DataFrame([{key: gate.get(key) for key in GATE_COLUMNS} for gate in self.manifest["gates"]], columns=list(GATE_COLUMNS))

    def codebook(self) -> pd.DataFrame:
        """Return what each column holds: label, unit, role, kind, levels, range, missing cells, how it was drawn."""
        import pandas as pd

        from tasks.publish.descriptions.codebook import as_csv, codebook

        return pd.read_csv(io.BytesIO(as_csv(codebook(self._record()))), keep_default_na=False)

    def more(self, rows: int, where: str = "", source: Any = None, **how: Any) -> Release:
        """Draw further rows from the same models; see :func:`waymint.more`."""
        from waymint.api import more

        return more(self, rows, where, source, **how)

    def verify(self) -> list[str]:
        """Re-hash every file; return what is wrong, nothing for a sound release."""
        from infra.store import open_store, split_release_uri
        from tasks.publish.releases import verify

        store = open_store(split_release_uri(self.uri)[0])
        return [f"{problem.fault}: {problem.path}: {problem.detail}" for problem in verify(store, self.name, self.version)]

    def pull(self, folder: str | Path) -> Path:
        """Copy the release into a new folder, checking every byte."""
        from infra.store import open_store, split_release_uri
        from tasks.publish.releases import pull

        pull(open_store(split_release_uri(self.uri)[0]), self.name, self.version, Path(folder))
        return Path(folder)

    def export(self, file: str | Path, csv: bool = False, licence: str | None = None) -> Path:
        """Write the release into one zip file: data, codebook, report, manifest, licence and citation.

        Parameters
        ----------
        file : str or Path
            A new file that ends in ``.zip``.
        csv : bool
            Add the data as CSV.
        licence : str, optional
            Text under which it may be used.
        """
        from infra.store import open_store, split_release_uri
        from tasks.publish.export import export

        export(open_store(split_release_uri(self.uri)[0]), self.name, self.version, Path(file), csv, licence)
        return Path(file)

    def headline(self) -> str:
        """Return name, version, rows and how many gates passed."""
        gates = self.manifest["gates"]
        passed = sum(gate["status"] == "passed" for gate in gates)
        return f"{self.name} version {self.version}: {self._record().rows:,} rows, {passed} of {len(gates)} gates passed"

    def details(self) -> Sequence[str]:
        """Return where it lies and its warnings."""
        effects = self.manifest["effects"]
        carried, title = built_in(effects), main_estimand(effects).upper()
        exact = () if carried is None else (f"exact {title} of the release: {carried.value:.4g}",)
        return (self.uri, *exact, *(f"warning: {text}" for text in self.warnings))

    def table(self) -> pd.DataFrame:
        """Return the main estimate of the average effect in source and release; of added rows all estimates."""
        import pandas as pd

        if self.manifest.get("profile") == "augment":
            return self.effects()
        effects = self.manifest["effects"]
        mains = {where: main_effect(effects, where) for where in ("source", "release")}
        rows = [{"table": where, "estimand": main_estimand(effects), **main} for where, main in mains.items() if main]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def plot(self, kind: str | None = None, *, source: Any = None, columns: Sequence[str] | None = None) -> Figure:
        """Draw the release; save it with ``.savefig("figure.pdf")``.

        Parameters
        ----------
        kind : {"effects", "overlap", "cate", "margins"}, optional
            "effects": forest plot of source and release; "overlap": propensities by arm; "cate": error of individual effects;
            "margins": histograms of columns.
        source : frame, optional
            The real rows, to lay beside the released ones; for "margins".
        columns : sequence of str, optional
            Which columns; for "margins".

        Raises
        ------
        SpecError
            If there is no such plot, the release has no such record, or matplotlib is not installed.
        """
        from waymint import plots

        kind = self._plotted(kind)
        if kind == "margins":
            return plots.margins(self.frame(), None if source is None else _as_pandas(source), columns)
        if kind == "overlap":
            overlap = self.manifest["overlap"]
            return plots.overlap({where: overlap[where] for where in ("source", "release") if overlap.get(where)})
        if kind == "cate":
            record = self.manifest["fidelity"].get("cate") or {"refused": ""}
            if "refused" in record:
                message = f"cate of {self.name} version {self.version} must be measured to be drawn; it was not."
                raise SpecError(message, str(record["refused"]))
            return plots.cate(record)
        effects = self.manifest["effects"]
        return plots.forest(self._effect_rows(), built_in(effects), main_estimand(effects))

    def _effect_rows(self) -> list[dict[str, Any]]:
        if self.manifest.get("profile") == "augment":  # added rows alone: what counts is the table with and without them
            estimates = self.manifest["augmentation"]["estimates"]
            return [{"table": part, **each} for part in ("before", "after") for each in estimates[part]]
        effects = self.manifest["effects"]
        tables = (("source", "source", "all"), ("release", "release", "all"), ("combined", "release", "combined"))
        return [{"table": title, **each} for title, where, part in tables for each in (effects.get(where) or {}).get(part, ())]

    def _record(self) -> Manifest:
        from tasks.publish.manifest import Manifest

        return Manifest.model_validate(dict(self.manifest))


def _as_pandas(frame: Any) -> pd.DataFrame:
    from waymint.frames import as_table

    converted: pd.DataFrame = as_table(frame).to_pandas()
    return converted
