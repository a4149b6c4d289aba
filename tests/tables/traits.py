"""Traits of real tables. docs/tables.md shows what comes of each; ``python -m tests.unit.test_tables_traits`` rewrites it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq

from tests.tables.base import ROWS, Made, Trait, base, comma, roles, text_csv


def _parquet(to: Path, frame: pd.DataFrame | pa.Table, **more: Any) -> Made:
    table = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, to / "t.parquet")
    return Made(to / "t.parquet", roles(**more))


def _column(name: str, values: pa.Array) -> Any:
    def make(to: Path) -> Made:
        frame, _ = base(40)
        return _parquet(to, pa.Table.from_pandas(frame, preserve_index=False).append_column(name, values))

    return make


def hive(to: Path, keys: int = 1, also: str | None = None, text: bool = False) -> Made:
    """Write a folder of partitions; the partition confounds."""
    frame, rng = base(1)
    north = rng.uniform(size=len(frame)) < 0.5
    frame["site"] = np.where(north, "north", "south")
    frame["year"] = np.where(rng.uniform(size=len(frame)) < 0.5, 2020, 2021)
    frame["a"] = (rng.uniform(size=len(frame)) < np.where(north, 0.8, 0.2)).astype(int)
    frame["y"] = (1.0 * frame.a + 3.0 * north + rng.normal(size=len(frame))).round(3)
    names = ["site", "year"][:keys]
    for values, part in frame.groupby(names):
        folder = to.joinpath("hive", *(f"{name}={value}" for name, value in zip(names, values)))
        folder.mkdir(parents=True)
        part = part.drop(columns=names)
        if also is not None:
            part["site"] = values[0] if also == "same" else "elsewhere"
        if text:
            text_csv(part, folder / "part.csv")
        else:
            part.to_parquet(folder / "part.parquet", index=False)
    return Made(to / "hive", roles())


def coded(to: Path, code: str, quoted: bool = False, share: int = 20, **source: Any) -> Made:
    """Write a numeric confounder with 5 % cells of a code."""
    frame, _ = base(2)
    frame["age"] = (50 + 15 * frame.x).round().astype(int)
    cell = f'"{code}"' if quoted else code
    frame["age"] = [cell if row % share == 0 else str(value) for row, value in enumerate(frame["age"])]
    return Made(text_csv(frame[["age", "a", "y"]], to / "t.csv"), roles(), source)


def sentinel(to: Path, value: float = -99, declared: bool = False, column: str = "bmi") -> Made:
    """Give 6 % of a column a value that stands for missing."""
    frame, rng = base(3)
    frame["bmi"] = (27 + 4 * frame.x + rng.normal(size=len(frame))).round(1)
    frame["items"] = rng.integers(1, 6, len(frame))
    hit = rng.uniform(size=len(frame)) < 0.06
    frame.loc[hit, column] = value
    made = _parquet(to, frame)
    return made._replace(source={"missing_values": {column: [value]}}) if declared else made


def children(to: Path) -> Made:
    """Give 5 % of a small count the value -1."""
    frame, rng = base(3)
    frame["children"] = np.where(rng.uniform(size=len(frame)) < 0.05, -1, rng.integers(0, 5, len(frame)))
    return _parquet(to, frame)


def typo(to: Path, value: float = 27_000.0, rows: int = 1) -> Made:
    """Give single rows a value a thousand times the others': a decimal point that was lost."""
    frame, rng = base(3)
    frame["bmi"] = (27 + 4 * frame.x + rng.normal(size=len(frame))).round(1)
    frame.loc[frame.index[:rows], "bmi"] = value
    return _parquet(to, frame)


def titled(to: Path, above: str, separator: str = ",", **source: Any) -> Made:
    """Write lines above the header, as registers and instruments do."""
    frame, _ = base(7)
    path = text_csv(frame, to / "t.csv", separator)
    path.write_text(above + path.read_text())
    return Made(path, roles(), source)


def far_dates(to: Path) -> Made:
    """Give 5 % of the rows the last day of all calendars."""
    frame, rng = base(4)
    days = rng.integers(17_000, 18_000, len(frame))
    dates = pd.Series(np.datetime64("1970-01-01", "D") + days.astype("timedelta64[D]")).astype(str)
    frame["until"] = np.where(rng.uniform(size=len(frame)) < 0.05, "9999-12-31", dates)
    return Made(text_csv(frame, to / "t.csv"), roles())


def quoted_levels(to: Path, levels: tuple[str, ...] = ("NA", "DE", "FR")) -> Made:
    """Write a text column whose quoted levels read like codes for missing; the control arm is called None."""
    frame, rng = base(5)
    frame["country"] = [f'"{level}"' for level in rng.choice(levels, len(frame))]
    frame["a"] = np.where(frame.a == 1, '"Drug"', '"None"')
    return Made(text_csv(frame, to / "t.csv"), roles(treated="Drug"))


def spreadsheet(to: Path) -> Made:
    """Write what a German spreadsheet exports."""
    frame, rng = base(6)
    days = pd.to_datetime("2021-03-01") + pd.to_timedelta(rng.integers(0, 700, len(frame)), "D")
    out = pd.DataFrame(
        {
            "Fallnummer": np.arange(len(frame)) + 100_001,
            "Größe": comma((170 + 8 * frame.z).round(1)),
            "PLZ": rng.choice(["01067", "04109", "80331"], len(frame)),
            "Aufnahme": days.strftime("%d.%m.%Y"),
            "x": comma(frame.x),
            "Behandlung": np.where(frame.a == 1, "Ja", "Nein"),
            "Score": comma(frame.y),
        }
    )
    return Made(text_csv(out, to / "t.csv", ";", "cp1252"), {"treatment": "Behandlung", "outcome": "Score"})


def dialect(to: Path, separator: str, encoding: str = "utf-8", ending: str = "csv", decimal: str = ".") -> Made:
    """Write another dialect of CSV."""
    frame, rng = base(7)
    frame["ville"] = rng.choice(["Évreux", "Nîmes", "Besançon"], len(frame))
    for name in ("x", "z", "y"):
        frame[name] = comma(frame[name]) if decimal == "," else frame[name]
    return Made(text_csv(frame, to / f"t.{ending}", separator, encoding), roles())


def thousands(to: Path, form: str = "{:,.2f}", separator: str = ";") -> Made:
    """Write amounts with marks between thousands."""
    frame, rng = base(8)
    frame["income"] = [form.format(value) for value in rng.lognormal(8, 1, len(frame)).round(2)]
    return Made(text_csv(frame, to / "t.csv", separator), roles())


def swiss(to: Path) -> Made:
    """Write amounts with apostrophes between thousands."""
    frame, rng = base(8)
    frame["income"] = [f"{value:,.2f}".replace(",", "'") for value in rng.lognormal(8, 1, len(frame))]
    return Made(text_csv(frame, to / "t.csv"), roles())


def only_thousands(to: Path) -> Made:
    """Write whole amounts with one comma before three digits, and no other decimals in the file."""
    frame, rng = base(9)
    frame = pd.DataFrame(
        {"income": [f'"{v // 1000},{v % 1000:03d}"' for v in rng.integers(1000, 9999, ROWS)], "a": frame.a, "y": frame.a + 2}
    )
    frame["y"] = rng.integers(0, 9, ROWS)
    return Made(text_csv(frame, to / "t.csv"), roles())


def dates(to: Path, form: str, first_days: int = 28, **source: Any) -> Made:
    """Write dates in a format; ``first_days`` is the last day of a month that occurs."""
    frame, rng = base(10)
    days = [
        pd.Timestamp(2021, int(month), int(day)) for month, day in zip(rng.integers(1, 13, ROWS), rng.integers(1, first_days + 1, ROWS))
    ]
    frame["visit"] = [day.strftime(form) for day in days]
    return Made(text_csv(frame, to / "t.csv"), roles(), source)


def packed(to: Path, ending: str) -> Made:
    """Write a compressed CSV file."""
    frame, _ = base(11)
    content = frame.to_csv(index=False).encode()
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": lambda data: pa.compress(data, "zstd", asbytes=True)}
    path = to / f"t.csv.{ending}"
    if ending == "zst":
        with pa.output_stream(str(path), compression="zstd") as sink:
            sink.write(content)
    else:
        path.write_bytes(pack[ending](content))
    return Made(path, roles())


def json_lines(to: Path) -> Made:
    """Write one object a line, with a key left out where missing."""
    frame, _ = base(12)
    rows = [
        {key: value for key, value in row.items() if not (key == "z" and number % 9 == 0)}
        for number, row in enumerate(frame.to_dict("records"))
    ]
    (to / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return Made(to / "t.jsonl", roles())


def feather_file(to: Path) -> Made:
    """Write a Feather file."""
    frame, _ = base(13)
    feather.write_feather(frame, to / "t.feather")
    return Made(to / "t.feather", roles())


def workbook(to: Path) -> Made:
    """Write bytes that pass for a workbook."""
    (to / "t.xlsx").write_bytes(b"PK\x03\x04")
    return Made(to / "t.xlsx", roles())


def index(to: Path, kind: str = "repeated") -> Made:
    """Store a data frame with its row index."""
    frame, rng = base(14)
    joined = pd.concat([frame[frame.a == 1], frame[frame.a == 0]])
    if kind == "repeated":
        joined.index = np.r_[np.arange((frame.a == 1).sum()), np.arange((frame.a == 0).sum())]
    elif kind == "named":
        joined.index = pd.Index(np.arange(len(joined)) // 3, name="row")
    elif kind == "levels":
        joined.index = pd.MultiIndex.from_arrays([joined.a.to_numpy(), rng.integers(0, 9, len(joined))], names=["arm", None])
    if kind == "csv":
        joined.reset_index(drop=True).to_csv(to / "t.csv")
        return Made(to / "t.csv", roles())
    joined.to_parquet(to / "t.parquet")
    return Made(to / "t.parquet", roles())


def mixed_parts(to: Path) -> Made:
    """Write a column as whole numbers in one part and as floats in the other."""
    frame, rng = base(15)
    frame["k"] = rng.integers(0, 50, len(frame))
    (to / "parts").mkdir()
    frame[:300].to_parquet(to / "parts" / "a.parquet", index=False)
    frame[300:].astype({"k": float}).to_parquet(to / "parts" / "b.parquet", index=False)
    return Made(to / "parts", roles())


def answers(to: Path, pair: tuple[Any, Any], role: str = "y", quoted: bool = False, **more: Any) -> Made:
    """Write an outcome, or a treatment, of two labels."""
    frame, _ = base(16)
    frame["y"] = (frame.y > 0.5).astype(int)
    frame[role] = np.where(frame[role] == 1, pair[1], pair[0])
    if quoted:
        frame[role] = [f'"{label}"' for label in frame[role]]
    return Made(text_csv(frame, to / "t.csv"), roles(**more))


def labels(to: Path, zero: Any, one: Any, treated: Any) -> Made:
    """Store treatment labels of some type."""
    frame, _ = base(17)
    frame["a"] = pd.Series([one if arm == 1 else zero for arm in frame.a], dtype=object if isinstance(one, str) else None)
    return _parquet(to, frame, treated=treated)


def identifiers(to: Path, kind: str = "integer", **more: Any) -> Made:
    """Add a column that names rows."""
    frame, _ = base(18)
    made = {"integer": np.arange(len(frame)) + 500_001, "text": [f"P{row:05d}" for row in range(len(frame))]}
    frame.insert(0, "case_no", made[kind])
    return _parquet(to, frame, **more)


def free_text(to: Path) -> Made:
    """Add nearly unique notes."""
    frame, _ = base(19)
    frame["note"] = [f"seen on day {row // 2}, again later" for row in range(len(frame))]
    return _parquet(to, frame)


def units(to: Path) -> Made:
    """Draw 120 people of five rows each, treated by person."""
    rng = np.random.default_rng(20)
    person = np.repeat(np.arange(120), 5)
    x, a, u = rng.normal(size=120).round(2), rng.integers(0, 2, 120), rng.normal(size=120)
    y = (a[person] + x[person] + u[person] + 0.6 * rng.normal(size=600)).round(3)
    return _parquet(to, pd.DataFrame({"person": person, "x": x[person], "a": a[person], "y": y}))


def header(to: Path, line: str, cells: str = "{x},{a},{y}") -> Made:
    """Write a header that is not plain."""
    frame, _ = base(21)
    rows = [cells.format(x=row.x, a=row.a, y=row.y) for row in frame.itertuples()]
    (to / "t.csv").write_text(line + "\n" + "\n".join(rows) + "\n", "utf-8")
    return Made(to / "t.csv", roles())


def ordered(to: Path) -> Made:
    """Store an ordered category with an unused level."""
    frame, rng = base(22)
    frame["grade"] = pd.Categorical(rng.choice(["severe", "mild", "acute"], len(frame)), ["mild", "acute", "severe", "fatal"], ordered=True)
    return _parquet(to, frame)


def post_treatment(to: Path) -> Made:
    """Add a near copy of the outcome."""
    frame, rng = base(23)
    frame["score_again"] = (2 * frame.y + 0.05 * rng.normal(size=len(frame))).round(3)
    return _parquet(to, frame)


def later(to: Path) -> Made:
    """Add columns that tell by their names of what follows treatment."""
    frame, rng = base(26)
    more = {"readmission": rng.integers(0, 3, len(frame)), "weight71": rng.normal(70, 9, len(frame)).round(1)}
    return _parquet(to, frame.assign(**more, weight82=rng.normal(72, 9, len(frame)).round(1)))


def written(to: Path, form: str) -> Made:
    """Write the confounder as text that is no plain number."""
    frame, _ = base(27)
    amount = (100 * np.exp(0.8 * frame.x)).round().astype(int)
    days = pd.Timestamp("2019-01-01") + pd.to_timedelta(amount, "D")
    texts = {
        "percent": [f"{value % 100}%" for value in amount],
        "dollars": [f"${value:.2f}" for value in 1.37 * amount],
        "minus": [str(value).replace("-", "\u2212") for value in frame.x],
        "clock": [f"{value // 4 % 24:02d}:{value % 4 * 15:02d}" for value in amount],
        "packed": list(days.dt.strftime("%Y%m%d")),
    }
    return Made(text_csv(frame.assign(dose=texts[form]), to / "t.csv"), roles())


def rule(to: Path) -> Made:
    """Treat by a threshold."""
    frame, rng = base(24)
    frame["a"] = (frame.x > 0).astype(int)
    frame["y"] = (1.0 * frame.a + frame.x + rng.normal(size=len(frame))).round(3)
    return _parquet(to, frame)


def few(to: Path, rows: int = 150) -> Made:
    """Keep few rows."""
    frame, _ = base(25, rows)
    return _parquet(to, frame)


def _decimals(values: list[Decimal], precision: int, scale: int, width: int = 128) -> pa.Array:
    return pa.array(values, pa.decimal128(precision, scale) if width == 128 else pa.decimal256(precision, scale))


_LARGE = pa.array(["north", "south", "east"] * (ROWS // 3), pa.large_string()).dictionary_encode()
_GROUPS = [number // 2 for number in range(ROWS)]
_SITES = ["north", "south", "east"] * (ROWS // 3)

TRAITS: tuple[Trait, ...] = (
    Trait("hive folder, one partition column", hive, "warned", "'site' (string) is a column"),
    Trait("hive folder, two levels, one of years", lambda to: hive(to, 2), "warned", "'site' (string), 'year' (int64) are columns"),
    Trait("hive folder of CSV files", lambda to: hive(to, text=True), "warned", "'site' (string) is a column"),
    Trait("partition column also in the files, agreeing", lambda to: hive(to, also="same"), "warned", "'site' (string) is a column"),
    Trait("partition column also in the files, differing", lambda to: hive(to, also="other"), "refused", "must agree with the folder"),
    Trait("stored row index that repeats", index, "warned", "row index left out of \"*\": '__index_level_0__'"),
    Trait("stored row index with a name", lambda to: index(to, "named"), "warned", "row index left out of \"*\": 'row'"),
    Trait("stored row index of two levels", lambda to: index(to, "levels"), "warned", "'arm', '__index_level_1__'"),
    Trait("row index in the first column of a CSV file", lambda to: index(to, "csv"), "warned", "stored row index left out"),
    Trait("5 % of a number are '.'", lambda to: coded(to, "."), "kept", "age: integer"),
    Trait("5 % of a number are '#N/A'", lambda to: coded(to, "#N/A"), "kept", "age: integer"),
    Trait("5 % of a number are blanks", lambda to: coded(to, "  "), "kept", "age: integer"),
    Trait("5 % of a number are '-'", lambda to: coded(to, "-"), "refused", "30 signs only (repeated: '-')"),
    Trait("5 % of a number are 'unknown'", lambda to: coded(to, "unknown"), "refused", "570 of 600 that do (95.0%), and 30 text"),
    Trait("the same, declared in source.missing", lambda to: coded(to, "unknown", missing=["unknown"]), "kept", "age: integer"),
    Trait("the same, declared in source.missing_values", lambda to: coded(to, "?", missing_values={"age": ["?"]}), "kept", "age: integer"),
    Trait("5 % of a number are a quoted NA", lambda to: coded(to, "NA", quoted=True), "refused", "(repeated: 'NA')"),
    Trait("10 % of a number are text of many kinds", lambda to: _many(to), "refused", "540 of 600 that do (90.0%), and 60 text."),
    Trait("quoted NA and None as levels and arms", quoted_levels, "kept", "country: categorical"),
    Trait("6 % of bmi are -99", sentinel, "warned", "are -99, which looks like a code for missing"),
    Trait("6 % of a scale from 1 to 5 are 9", lambda to: sentinel(to, 9, column="items"), "warned", "are 9, which looks like"),
    Trait("5 % of a count are -1", children, "warned", "are -1, which looks like"),
    Trait("one bmi of 27000", typo, "warned", "fewer than 5 rows of column 'bmi' lie more than 10 times the range of all others away"),
    Trait("three bmi of -5000", lambda to: typo(to, -5000.0, 3), "warned", "fewer than 5 rows of column 'bmi' lie more than"),
    Trait("6 % of bmi are -99, declared", lambda to: sentinel(to, declared=True), "kept", "bmi: continuous"),
    Trait("dates that end in 9999", far_dates, "warned", "are 9999-12-31, which looks like a code"),
    Trait("German spreadsheet: cp1252, ;, decimal commas", spreadsheet, "warned", "separator ';', decimal mark ',', encoding cp1252"),
    Trait("tab separated", lambda to: dialect(to, "\t", ending="tsv"), "warned", "separator tab"),
    Trait("separated by |", lambda to: dialect(to, "|"), "warned", "separator '|'"),
    Trait("UTF-16", lambda to: dialect(to, ",", "utf-16"), "warned", "encoding utf-16"),
    Trait("semicolons and decimal commas in UTF-8", lambda to: dialect(to, ";", decimal=","), "warned", "decimal mark ','"),
    Trait("a title above the header", lambda to: titled(to, "Export of ward 3, May 2021\n\n"), "warned", "the header on line 3"),
    Trait("comments above the header", lambda to: titled(to, "# device 7\n# site: A, B; C\n", ";"), "warned", "the header on line 3"),
    Trait("padded lines above the header", lambda to: titled(to, "Export,,,\n2021-05-01,,,\n"), "warned", "the header on line 3"),
    Trait(
        "three lines above the header, declared",
        lambda to: titled(to, "by ward,by year,by arm\nA,B,C\nD,E,F\n", csv={"skip": 3}),
        "warned",
        "the header on line 4",
    ),
    Trait("a header that begins with #", lambda to: titled(to, "#"), "kept", "z: continuous"),
    Trait("1,234.50 in a file with ;", thousands, "warned", "thousands ','"),
    Trait("1'234.50", swiss, "warned", 'thousands "\'"'),
    Trait("1,234 alone: decimal or thousands", only_thousands, "refused", "as decimal mark or as thousands"),
    Trait("dates as 31.12.2021", lambda to: dates(to, "%d.%m.%Y"), "warned", "'visit' as %d.%m.%Y"),
    Trait("dates as 12/31/2021", lambda to: dates(to, "%m/%d/%Y"), "warned", "'visit' as %m/%d/%Y"),
    Trait("dates as 31-Dec-2021", lambda to: dates(to, "%d-%b-%Y"), "warned", "'visit' as %d-%b-%Y"),
    Trait("dates as 03/04/2021, no day above 12", lambda to: dates(to, "%d/%m/%Y", 12), "refused", "known order of day and month"),
    Trait("dates as 12/31/21", lambda to: dates(to, "%m/%d/%y"), "warned", "'visit' as %m/%d/%y"),
    Trait("dates as 31/12/21", lambda to: dates(to, "%d/%m/%y"), "refused", "known order of day, month and year"),
    Trait(
        "the same, declared in source.csv",
        lambda to: dates(to, "%d/%m/%Y", 12, csv={"dates": {"visit": "%d/%m/%Y"}}),
        "warned",
        "'visit' as %d/%m/%Y",
    ),
    Trait("dates as 20211231", lambda to: written(to, "packed"), "warned", 'source.csv = { dates = { "dose" = "%Y%m%d" } }'),
    Trait("times as 08:15", lambda to: written(to, "clock"), "warned", "its cells are times or durations"),
    Trait("numbers as 45%", lambda to: written(to, "percent"), "warned", "its cells are numbers with signs, units or marks"),
    Trait("numbers as $137.20", lambda to: written(to, "dollars"), "refused", "write them as plain numbers"),
    Trait("numbers with a typographic minus", lambda to: written(to, "minus"), "refused", "write them as plain numbers"),
    Trait("CSV in .gz", lambda to: packed(to, "gz"), "kept", "x: continuous"),
    Trait("CSV in .bz2", lambda to: packed(to, "bz2"), "kept", "x: continuous"),
    Trait("CSV in .xz", lambda to: packed(to, "xz"), "kept", "x: continuous"),
    Trait("CSV in .zst", lambda to: packed(to, "zst"), "kept", "x: continuous"),
    Trait("JSON Lines", json_lines, "kept", "z: continuous"),
    Trait("Feather", feather_file, "kept", "x: continuous"),
    Trait("XLSX", workbook, "refused", "Save the sheet as CSV"),
    Trait("whole numbers in one part, floats in another", mixed_parts, "kept", "k: continuous"),
    Trait("outcome Yes/No", lambda to: answers(to, ("No", "Yes")), "kept", "outcome: binary"),
    Trait("outcome oui/non", lambda to: answers(to, ("non", "oui")), "kept", "outcome: binary"),
    Trait("outcome case/control", lambda to: answers(to, ("control", "case")), "kept", "outcome: binary"),
    Trait("outcome coded 1/2", lambda to: answers(to, (1, 2)), "warned", "2 counts as 1"),
    Trait("outcome alive/dead", lambda to: answers(to, ("alive", "dead")), "refused", "Set roles.event"),
    Trait("outcome alive/dead, event declared", lambda to: answers(to, ("alive", "dead"), event="dead"), "kept", "outcome: binary"),
    Trait("treatment Ja/Nein", lambda to: answers(to, ("Nein", "Ja"), "a"), "kept", "x: continuous"),
    Trait("treatment coded 1/2", lambda to: answers(to, (1, 2), "a", treated=2), "kept", "x: continuous"),
    Trait("treatment texts '1.0' and '0.0', treated = 1", lambda to: labels(to, "0.0", "1.0", 1), "kept", "x: continuous"),
    Trait("treatment texts 'drug' and 'placebo', treated = 1", lambda to: labels(to, "placebo", "drug", 1), "kept", "x: continuous"),
    Trait("treatment texts 'usual care' and 'app', treated = 1", lambda to: labels(to, "usual care", "app", 1), "kept", "x: continuous"),
    Trait("treatment texts 'drug A' and 'drug B', treated = 1", lambda to: labels(to, "drug A", "drug B", 1), "refused", "'drug B': "),
    Trait("unique whole numbers", identifiers, "warned", "'case_no' is left out"),
    Trait("unique texts", lambda to: identifiers(to, "text"), "warned", "'case_no' is left out"),
    Trait("unique whole numbers named as covariate", lambda to: identifiers(to, covariates=["case_no", "x"]), "refused", "an identifier"),
    Trait("unique whole numbers of a declared kind", lambda to: identifiers(to, kinds={"case_no": "integer"}), "kept", "case_no: integer"),
    Trait("nearly unique free text", free_text, "refused", "levels of covariate 'note'"),
    Trait("repeated people", units, "warned", "looks like an identifier of units"),
    Trait("blanks around names in the header", lambda to: header(to, " x , a , y "), "kept", "x: continuous"),
    Trait("byte order mark", lambda to: header(to, "\ufeffx,a,y"), "kept", "x: continuous"),
    Trait("a name twice in the header", lambda to: header(to, "x,a,y,x", "{x},{a},{y},{x}"), "refused", "'x' more than once"),
    Trait("ordered category, a level unused", ordered, "kept", "grade: categorical"),
    Trait("dictionary of large texts", _column("site", _LARGE), "kept", "site: categorical"),
    Trait("text views", _column("site", pa.array(_SITES, pa.string_view())), "kept", "site: categorical"),
    Trait("decimals of money", _column("fee", _decimals([Decimal(k) / 4 for k in _GROUPS], 12, 2)), "kept", "fee: continuous"),
    Trait("wide decimals that fit", _column("fee", _decimals([Decimal(k) for k in _GROUPS], 60, 20, 256)), "kept", "fee: continuous"),
    Trait("decimals beyond 2**53", _column("fee", _decimals([Decimal(10**22 + k) for k in _GROUPS], 38, 0)), "refused", "at most 2**53"),
    Trait("near copy of the outcome", post_treatment, "warned", "'score_again' nearly determines outcome 'y'"),
    Trait("columns named after what follows treatment", later, "warned", "measured after treatment: 'readmission', 'weight82'."),
    Trait("treatment by a threshold", rule, "warned", "'x' nearly determines treatment 'a'"),
    Trait("150 rows: the holdout is too small", few, "refused", "holdout must be at least 100"),
)


def _many(to: Path) -> Made:
    made = coded(to, "CODE", share=10)
    lines = made.uri.read_text().splitlines()
    made.uri.write_text("\n".join(line.replace("CODE", f"reading {row} lost") for row, line in enumerate(lines)) + "\n")
    return made
