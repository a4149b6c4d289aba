"""What a treatment of more than two arms asks of a SPEC."""

from __future__ import annotations

from tasks.contract.errors import SpecError
from tasks.contract.roles import TableSchema
from tasks.contract.spec import Spec


def arm_notes(schema: TableSchema, spec: Spec) -> tuple[str, ...]:
    """Say what a reader of a release must know of its arms and of the effect it is made for."""
    notes = []
    settings = spec.mechanisms
    if len(schema.arms) > 2 and schema.rows * (settings.folds - 1) > settings.fit_rows * settings.folds:
        notes.append(
            f"g and Q of {len(schema.arms)} arms are fitted on hash samples of {settings.fit_rows:,} rows (mechanisms.fit_rows) of "
            f"{schema.rows:,}; targeting and calibration use all rows."
        )
    if settings.estimand != "ate" and spec.release.mode == "hybrid":
        notes.append(
            f"the release is made for the {settings.estimand.upper()} (mechanisms.targets): its average effect over all rows, effects.ate, "
            "is neither targeted nor judged."
        )
    return tuple(notes)


def share_faults(schema: TableSchema, spec: Spec) -> list[SpecError]:
    """Return the refusal of shares and known propensities that are not those of the table's arms."""
    settings, faults = spec.mechanisms, []
    for name, shares in (("shares", settings.shares), ("propensity", settings.propensity)):
        if isinstance(shares, dict) and shares and set(shares) != set(schema.arms):
            faults.append(
                SpecError(
                    f"{name} of mechanisms must name every label of '{schema.treatment.name}' and no other; got {len(shares)} names.",
                    f"Labels: {', '.join(schema.arms)}.",
                )
            )
    return faults


def arm_faults(schema: TableSchema, spec: Spec) -> list[SpecError]:
    """Return what a SPEC asks for that is not built for the table's number of arms, or names arms that are not there.

    Parameters
    ----------
    schema : TableSchema
        The table.
    spec : Spec
    """
    faults = share_faults(schema, spec)
    if len(schema.arms) == 2:
        return faults
    settings = spec.mechanisms
    chance = isinstance(settings.propensity, float)
    two = (
        ("propensity of mechanisms", chance, "a chance for each arm", f"write propensity = {{ {schema.arms[0]} = 0.5, ... }}"),
        ("probability of mechanisms", settings.probability != 0.5, "left out", "mechanisms.shares has a share for each arm"),
    )
    for name, wrong, rule, why in two:
        if wrong:
            faults.append(SpecError(f"{name} must be {rule} where the treatment has {len(schema.arms)} arms; got another.", f"{why}."))
    return faults
