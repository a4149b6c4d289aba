"""A release in one file for a colleague: all of its own files, licence and citation.

Unpacked it is the release's folder, and `waymint releases verify FOLDER` checks it, with its signatures.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import yaml

from tasks.contract.errors import SpecError, StoreError, StoreForbidden
from tasks.contract.store import Store
from tasks.publish.descriptions.files import descriptions
from tasks.publish.descriptions.subject import Subject
from tasks.publish.descriptions.subject import citation as one_line
from tasks.publish.descriptions.tables import copies
from tasks.publish.layout import MANIFEST, REPORT, is_sealed, release_key, version_text
from tasks.publish.listing import manifest_bytes
from tasks.publish.manifest import Manifest, odd_values
from tasks.publish.releases import show, signature_paths, sound_bytes, sound_table
from tasks.publish.signatures import MOST_BYTES

#: The earliest time that a zip file can hold: the same release gives the same bytes whenever it is exported.
EPOCH = (1980, 1, 1, 0, 0, 0)
NO_LICENCE = (
    "No licence was named when this file was made.\n"
    "The holder of the source decides how the release may be used: ask whoever sent you this file.\n"
)


def export(store: Store, name: str, version: int | None, target: Path, csv: bool = False, licence: str | None = None) -> Manifest:
    """Write a release into one zip file, verified on the way: whole or not at all.

    Parameters
    ----------
    store : Store
        Where the release is.
    name, version : str, int or None
        Which; None is the latest.
    target : Path
        A new file that ends in ``.zip``.
    csv : bool
        Add the data as CSV, one file for each copy.
    licence : str, optional
        Text under which the release may be used.

    Returns
    -------
    Manifest
        Of what was exported.

    Raises
    ------
    SpecError
        If the file does not end in ``.zip``.
    StoreError
        If it is there already or can't be written, or a file of the release is not what the manifest says.
    """
    if target.suffix.lower() != ".zip":
        raise SpecError(f"file of export must end in .zip; got '{target.name}'.", "For example --to release.zip.")
    manifest = show(store, name, version)
    try:
        if target.exists():
            raise StoreError(f"file of export must be new; got {target}, which is there.", "Give another one.")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:  # beside the target: one rename
            partial = Path(folder) / target.name
            with zipfile.ZipFile(partial, "w") as archive:
                for path, data in _contents(store, manifest, csv, licence):
                    _add(archive, f"{name}-{version_text(manifest.version)}/{path}", data)
            partial.replace(target)
    except PermissionError as error:
        raise StoreForbidden(f"folder of export must be writable; got '{error.strerror}' at {target.parent}.") from None
    except OSError as error:
        raise StoreError(f"folder of export must take the file; got '{error.strerror}' at {target.parent}.") from None
    return manifest


def _contents(store: Store, manifest: Manifest, csv: bool, licence: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield paths and bytes, what is read first by a person first."""
    listed = {file.path: file for file in manifest.files}
    record = manifest_bytes(store, manifest.name, manifest.version)
    digest = hashlib.sha256(record).hexdigest()
    with odd_values(f"{manifest.name} version {manifest.version}"):
        yield from _terms(manifest, digest, licence)
        written = descriptions(manifest)  # releases of older versions have none: they are written here
        parts = copies(manifest)
    for path, data in written.items():
        yield path, sound_bytes(store, manifest.name, manifest.version, listed[path]) if path in listed else data
    yield MANIFEST, record
    for path in signature_paths(store, manifest.name, manifest.version):
        yield path, store.get(release_key(manifest.name, manifest.version, path), MOST_BYTES)
    data_files = {file.path for files in parts for file in files}
    for path in sorted(listed.keys() - written.keys() - data_files, key=lambda path: (path != REPORT, path)):
        if is_sealed(path):
            continue  # models of the source: not for whom the file is made
        yield path, sound_bytes(store, manifest.name, manifest.version, listed[path])
    for files in parts:
        for file in files:
            yield file.path, sound_bytes(store, manifest.name, manifest.version, file)
        if csv:
            tables = [sound_table(store, manifest.name, manifest.version, file) for file in files]
            yield f"{files[0].path.rpartition('/')[0]}.csv", _as_csv(pa.concat_tables(tables))


def _terms(manifest: Manifest, digest: str, licence: str | None) -> Iterator[tuple[str, bytes]]:
    """Yield how to cite a release and how it may be used."""
    yield "CITATION.txt", citation(manifest, digest).encode()
    if Subject.of(manifest).creators:
        yield "CITATION.cff", citation_file(manifest, digest)
    yield "LICENCE.txt", (licence or _licence(manifest)).encode()


def _licence(manifest: Manifest) -> str:
    """Return the licence that the SPEC names, in a sentence."""
    licence = Subject.of(manifest).licence
    return f"Licence of this release: {licence}\n" if licence else NO_LICENCE


def _as_csv(table: pa.Table) -> bytes:
    """Return a table as CSV; missing cells are empty."""
    plain = [field.type.value_type if pa.types.is_dictionary(field.type) else field.type for field in table.schema]
    table = table.cast(pa.schema([field.with_type(kind) for field, kind in zip(table.schema, plain)]))
    buffer = io.BytesIO()
    pacsv.write_csv(table, buffer)
    return buffer.getvalue()


def citation(manifest: Manifest, digest: str) -> str:
    """Return how to cite a release, with the digest of its manifest as it is stored, which identifies it."""
    tables = len(copies(manifest))
    return (
        f"{one_line(manifest)} {manifest.rows:,} rows in {tables} {'copy' if tables == 1 else 'copies'}.\n"
        f"SHA-256 of its manifest: {digest}\n\n"
        "The rows are synthetic. To estimate the effect in the source's population, use the intervals of the manifest or those\n"
        "that 'waymint estimate' gives for a release: an interval computed from the rows alone is too narrow.\n"
    )


def citation_file(manifest: Manifest, digest: str) -> bytes:
    """Return the citation in the Citation File Format 1.2 (https://citation-file-format.github.io), which needs an author."""
    subject = Subject.of(manifest)
    values = {
        "cff-version": "1.2.0",
        "message": "Please cite this release as below.",
        "type": "dataset",
        "title": subject.title,
        "abstract": subject.description,
        "version": str(manifest.version),
        "date-released": manifest.created[:10],
        "authors": [{"name": creator} for creator in subject.creators],
        "identifiers": [{"type": "other", "value": f"sha256:{digest}", "description": "digest of the manifest"}],
        "keywords": list(subject.keywords),
    }
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)
    return text.encode()


def _add(archive: zipfile.ZipFile, path: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(path, EPOCH)
    entry.external_attr = 0o644 << 16
    entry.compress_type = zipfile.ZIP_STORED if path.endswith(".parquet") else zipfile.ZIP_DEFLATED
    archive.writestr(entry, data)
