"""What a released Parquet file says of itself, for someone who finds it without its manifest."""

from __future__ import annotations

import json

import pyarrow as pa

from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec

#: Key in the footer's metadata; its value is one JSON object.
KEY = b"waymint"
FORMAT = "waymint-part/1"


def with_footer(table: pa.Table, spec: Spec, schema: TableSchema, product: str, copy: int, part: int) -> pa.Table:
    """Return a part with its origin in the schema's metadata, which Parquet writes into the footer.

    The release's version is not in it, nor the digest of its manifest. A version is claimed after the rows are drawn, so that the same
    SPEC gives the same bytes under any version; the manifest lists the digests of the parts, so no part can hold that of the manifest.
    The other way round works: the SHA-256 of a part is found in the manifest of its release.

    Parameters
    ----------
    table : pyarrow.Table
        The part as it will be published.
    spec : Spec
    schema : TableSchema
        Of the source.
    product : str
        Version of waymint.
    copy, part : int
        Number of the copy, and of the part in it.
    """
    origin = {
        "format": FORMAT,
        "release": spec.name,
        "copy": copy,
        "part": part,
        "synthetic": True,
        "treatment": schema.treatment.name,
        "outcome": ", ".join(column.name for column in schema.outcomes),
        "made_by": f"waymint {product}",
    }
    return table.replace_schema_metadata({KEY: json.dumps(origin, ensure_ascii=False, sort_keys=True).encode()})
