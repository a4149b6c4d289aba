"""What an augmentation does not support, refused before any work."""

from __future__ import annotations

from tasks.contract.columns import MARKER
from tasks.contract.errors import SpecError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec


def check_settings(spec: Spec, schema: TableSchema) -> None:
    """Refuse settings that an augmentation does not support.

    Raises
    ------
    SpecError
        If copies, mode or flips don't go with an augmentation, or the source has a column of the marker's name.
    """
    if spec.release.copies != 1 or spec.release.mode != "hybrid":
        raise SpecError('release of an augmentation must have copies = 1 and mode = "hybrid"; got others.', "Leave them out.")
    if spec.augment.flip and spec.augment.outcome == "self":
        raise SpecError(f'flip of augment must be 0 where outcome is "self"; got {spec.augment.flip}.', "It tests another table's labels.")
    if spec.augment.flip and len(schema.outcomes) > 1:
        raise SpecError(f"flip of augment must be 0 with several outcomes; got {spec.augment.flip}.", "It tests one outcome's labels.")
    if spec.augment.flip and schema.outcome_kind != "binary":
        raise SpecError(
            f"flip of augment must be 0 for a {schema.outcome_kind} outcome; got {spec.augment.flip}.", "Only labels can be flipped."
        )
    if MARKER in {column.name for column in schema.columns}:
        raise SpecError(f"columns of source must not hold '{MARKER}'; it marks added rows.", "Rename or exclude it (roles.exclude).")
