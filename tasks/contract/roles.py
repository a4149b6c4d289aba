"""Columns and their roles: how a source's table is seen by every step."""

from __future__ import annotations

import base64
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, model_validator

from tasks.contract.survival import TimesToEvent

Role = Literal["covariate", "treatment", "outcome", "event", "id", "cluster", "weight", "stratum", "passenger"]
Kind = Literal["continuous", "integer", "boolean", "categorical", "datetime"]


class Column(BaseModel):
    """One column of the source and its canonical form.

    Inside the product a column goes by its ``id``, so no name of a source can clash with ours. Canonical
    values are float64 with NaN for missing (continuous, integer, datetime in microseconds since 1970 UTC) or
    a dictionary of strings with null for missing (boolean as "false"/"true", categorical).

    Attributes
    ----------
    id : str
        ``"w0"``, ``"w1"``, ... for covariates and strata in their order, ``"a"``, ``"y"`` (further outcomes ``"y1"``, ``"y2"``, ...), of a
        time to event ``"e"`` for whether it came (0, or the number of its cause); ``"i0"``, ... for ids, ``"c"`` for the cluster, ``"v"``
        for the weight, ``"p0"``, ``"p1"``, ... for passengers.
    name : str
        As in the source.
    field : str
        The Arrow field of the source, serialised (base64 of an IPC schema of one field).
    levels : tuple of str
        Levels of a boolean or categorical column, sorted; of a two-valued outcome other than 0/1, or of events, the labels for 0
        and 1 (with competing causes 0, 1, 2, ...); empty otherwise.
    rare_into : str
        The level that texts of fewer than five rows count to, where together they are fewer than five; empty where there are none, or
        where they have a pool.
    dictionary : tuple of str
        Words of the source's dictionary in its order, unused ones included; empty for columns that are no dictionary of texts.
    decimals : int or None
        Digits behind the point that every value of a continuous column has at most, None where more than 6.
    low, high : float or None
        Safe range of a numeric column: at least five rows lie at or beyond either bound, which is rounded inwards; see
        :func:`tasks.contract.disclosure.safe_bounds`. A value of the source only where at least five rows have it.
    missing : int
        Missing cells; 1 to 4 are written as 4.
    constant : bool
        True where all cells are the same; such a column is kept as it is and not modelled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    name: str
    role: Role
    kind: Kind
    field: str
    levels: tuple[str, ...] = ()
    rare_into: str = ""
    dictionary: tuple[str, ...] = ()
    decimals: int | None = None
    low: float | None = None
    high: float | None = None
    missing: int = 0
    constant: bool = False

    @property
    def is_category(self) -> bool:
        """Whether canonical values are strings from ``levels``."""
        return self.kind in ("boolean", "categorical")

    @property
    def is_covariate(self) -> bool:
        """Whether the column is part of W: a covariate, or a stratum, which is one with levels."""
        return self.role in ("covariate", "stratum")

    @property
    def is_drawn(self) -> bool:
        """Whether released values come from a fitted law of canonical values: covariates, strata and passengers."""
        return self.is_covariate or self.role == "passenger"

    def arrow(self) -> pa.Field:
        """Return the source's Arrow field: name, type, nullability."""
        return pa.ipc.read_schema(pa.BufferReader(base64.b64decode(self.field))).field(0)


def pack_field(field: pa.Field) -> str:
    """Serialise one Arrow field (its metadata left behind) for :class:`Column`."""
    return base64.b64encode(pa.schema([field.remove_metadata()]).serialize().to_pybytes()).decode()


class TableSchema(BaseModel):
    """All role columns, in the source's order.

    Attributes
    ----------
    columns : tuple of Column
        Every column with a role, in the source's order.
    treated, control : str
        Canonical text of the two treatment labels; of more than two, the first arm beside the control, and the control.
    arms : tuple of str
        Canonical text of all treatment labels, the control first; canonical treatments are places in it. Two to eight.
    outcome_kind : str
        ``"binary"``, ``"continuous"``, ``"count"`` or ``"survival"``; of several outcomes that of the first.
    further_kinds : tuple of str
        Kinds of the other outcomes, in their order.
    rows : int
        Rows with treatment and outcome known.
    clusters : int or None
        Clusters that they come in, to about 3 %; None where there is no such column.
    survival : TimesToEvent or None
        Of a time to event: horizon, times and periods.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...]
    treated: str
    control: str
    outcome_kind: Literal["binary", "continuous", "count", "survival"]
    rows: int
    arms: tuple[str, ...] = ()
    clusters: int | None = None
    further_kinds: tuple[Literal["binary", "continuous", "count"], ...] = ()
    survival: TimesToEvent | None = None

    @model_validator(mode="before")
    @classmethod
    def _with_arms(cls, values: Any) -> Any:
        """Take the two arms from their labels where a manifest is older than the field."""
        if isinstance(values, dict) and not values.get("arms") and {"treated", "control"} <= set(values):
            return {**values, "arms": (values["control"], values["treated"])}
        return values

    @property
    def arm_titles(self) -> tuple[str, ...]:
        """How pages call the arms, the control first: of two arms with what they are."""
        first, *others = self.arms
        return (f"{first} (control)", *(f"{label} (treated)" if len(self.arms) == 2 else label for label in others))

    @property
    def units(self) -> int:
        """What a holdout is drawn from: clusters, or rows."""
        return self.rows if self.clusters is None else self.clusters

    @property
    def covariates(self) -> tuple[Column, ...]:
        """Covariates and strata by id order (w0, w1, ...), constant ones included."""
        return self._numbered("covariate", "stratum")

    @property
    def modelled(self) -> tuple[Column, ...]:
        """Covariates that vary: what synthesizers and learners see."""
        return tuple(column for column in self.covariates if not column.constant)

    @property
    def treatment(self) -> Column:
        """The treatment column."""
        return next(column for column in self.columns if column.role == "treatment")

    @property
    def outcome(self) -> Column:
        """The outcome column; of several the first."""
        return self.outcomes[0]

    @property
    def outcomes(self) -> tuple[Column, ...]:
        """All outcomes (y, y1, y2, ...)."""
        several = [column for column in self.columns if column.role == "outcome"]
        return tuple(sorted(several, key=lambda column: int(column.id[1:] or 0)))

    @property
    def outcome_kinds(self) -> tuple[str, ...]:
        """Kinds of what nuisances of all outcomes are means of."""
        return (self.mean_kind, *self.further_kinds)

    @property
    def gaps(self) -> bool:
        """Whether some outcome has missing cells that stay: rows without it are kept and weighted."""
        return any(column.missing > 0 for column in self.outcomes)

    @property
    def plain(self) -> bool:
        """Whether there is one outcome, known in every row."""
        return len(self.outcomes) == 1 and not self.gaps

    def of_outcome(self, number: int) -> TableSchema:
        """Return the schema as one of several outcomes sees it: the others have no role there."""
        name = self.outcomes[number].id
        kept = tuple(column for column in self.columns if column.role != "outcome" or column.id == name)
        return self.model_copy(update={"columns": kept, "outcome_kind": self.outcome_kinds[number], "further_kinds": ()})

    @property
    def event(self) -> Column | None:
        """The column that says whether the event came, of a time to event."""
        return next((column for column in self.columns if column.role == "event"), None)

    @property
    def mean_kind(self) -> Literal["binary", "continuous", "count"]:
        """Kind of what nuisances are means of: of a time to event the restricted time, which is continuous."""
        return "continuous" if self.outcome_kind == "survival" else self.outcome_kind

    @property
    def ids(self) -> tuple[Column, ...]:
        """Columns that name rows (i0, i1, ...)."""
        return self._numbered("id")

    @property
    def cluster(self) -> Column | None:
        """The column that names clusters, where there is one."""
        return next((column for column in self.columns if column.role == "cluster"), None)

    @property
    def weight(self) -> Column | None:
        """The column of survey weights, where there is one."""
        return next((column for column in self.columns if column.role == "weight"), None)

    @property
    def strata(self) -> tuple[Column, ...]:
        """Strata that vary, by id order: covariates all of them."""
        return tuple(column for column in self.modelled if column.role == "stratum")

    @property
    def passengers(self) -> tuple[Column, ...]:
        """Passengers (p0, p1, ...), constant ones included."""
        return self._numbered("passenger")

    @property
    def drawn(self) -> tuple[Column, ...]:
        """Columns that vary and whose released values come from fitted laws, in the source's order: no id, cluster or weight."""
        others = ("id", "cluster", "weight")
        return tuple(column for column in self.columns if column.role not in others and not column.constant)

    @property
    def beside(self) -> tuple[str, ...]:
        """Ids of canonical columns that say how rows count: ``"c"`` (hash of the cluster) and ``"v"`` (weight), as far as there are."""
        return tuple(column.id for column in (self.cluster, self.weight) if column is not None)

    def _numbered(self, *roles: Role) -> tuple[Column, ...]:
        selected = [column for column in self.columns if column.role in roles]
        return tuple(sorted(selected, key=lambda column: int(column.id[1:])))


class ColumnRoles(BaseModel):
    """Roles by plain column names, for callers who bring a frame of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    treatment: str
    outcome: str
    covariates: tuple[str, ...]
    treated: str | int | float | bool = 1
    control: str | int | float | bool | None = None
    outcome_kind: Literal["auto", "binary", "continuous", "count"] = "auto"
    missing_outcome: Literal["error", "ipcw"] = "error"
    subgroups: tuple[str, ...] = ()
