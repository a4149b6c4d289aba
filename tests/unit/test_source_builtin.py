"""Built-in sources."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

from tasks.contract.errors import SpecError
from tasks.source.builtin import BUILTINS, load_builtin


@pytest.mark.parametrize("name", sorted(BUILTINS))
def test_described_as_it_is(name: str) -> None:
    table, told = load_builtin(name), BUILTINS[name]
    assert (table.num_rows, table.num_columns) == (told.rows, told.columns)
    assert table.column(told.treatment).type == pa.int64()
    assert table.column(told.outcome).type == pa.float64()
    assert told.name == name


def test_nhefs_types() -> None:
    table = load_builtin("nhefs")
    assert table.column("wt82_71").null_count == 63
    kinds = {name: str(table.schema.field(name).type) for name in ("sex", "education", "age", "wt71", "ht", "pregnancies", "price71")}
    assert kinds == {
        "sex": "string",
        "education": "string",
        "age": "int64",
        "wt71": "double",
        "ht": "double",
        "pregnancies": "int64",
        "price71": "double",
    }
    assert table.column("pregnancies").null_count > 0
    assert set(table.column("sex").to_pylist()) == {"0", "1"}


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(SpecError, match="Did you mean 'builtin:nhefs'"):
        load_builtin("nhfs")


def test_the_package_of_the_data_is_not_run() -> None:
    code = "import sys; from tasks.source.builtin import load_builtin; load_builtin('nsw'); sys.exit('statsmodels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
