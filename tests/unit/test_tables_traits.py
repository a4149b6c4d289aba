"""Every trait of real tables is kept, refused by name, or said; docs/tables.md shows what comes of each."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from flows.check import check
from tasks.contract.spec import parse_spec
from tests.tables.base import Trait
from tests.tables.traits import TRAITS

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
START, END = "<!-- traits: written by python -m tests.unit.test_tables_traits -->", "<!-- end of traits -->"


def checked(trait: Trait, folder: Path) -> dict[str, Any]:
    """Write a trait's table and check it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = trait.make(folder)
    spec = {
        "name": "trait",
        "source": {"uri": str(made.uri), **made.source},
        "roles": dict(made.roles),
        "store": {"uri": str(folder / "store")},
    }
    reply: dict[str, Any] = check(parse_spec(spec))[0]
    return reply


def verdict(reply: dict[str, Any], folder: Path) -> tuple[str, str]:
    """Return what came of a table, and what was said of it."""
    findings = reply["findings"]
    if not findings:
        table = reply["table"]
        kinds = [f"{one['name']}: {one['kind']}" for one in table["covariates"]]
        return "kept", ", ".join([*kinds, f"outcome: {table['outcome_kind']}"])
    errors = [one for one in findings if one["severity"] == "error"] or findings
    said = " ".join(f"{one['message'].rstrip('.')}. {one['hint']}".strip() for one in errors)
    return ("refused" if reply["code"] else "warned"), said.replace(f"{folder}/", "")


@pytest.mark.parametrize("trait", TRAITS, ids=[trait.title for trait in TRAITS])
def test_trait(trait: Trait, tmp_path: Path) -> None:
    reply = checked(trait, tmp_path)
    found, said = verdict(reply, tmp_path)
    assert (found, trait.said in said) == (trait.verdict, True), said
    assert reply["code"] == (0 if found != "refused" else 4)
    # names, counts and codes that five rows share; never a cell that stands for somebody
    assert not re.search(r"reading \d+ lost|P0000\d|seen on day", said)


def rows() -> list[str]:
    """Return the table of docs/tables.md."""
    lines = ["| trait | what comes of it | what is said |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for number, trait in enumerate(TRAITS):
            where = Path(folder) / str(number)
            found, said = verdict(checked(trait, where), where)
            text = said.replace("|", "\\|").replace("<", "&lt;")
            lines.append(f"| {trait.title.replace('|', chr(92) + '|')} | {found} | {text if found != 'kept' else f'`{text}`'} |")
    return lines


def test_the_page_shows_what_comes_of_every_trait() -> None:
    text = PAGE.read_text("utf-8")
    shown = text.partition(START)[2].partition(END)[0].strip().splitlines()
    assert shown == rows(), "run: python -m tests.unit.test_tables_traits"
    assert len(TRAITS) >= 40


if __name__ == "__main__":
    before, _, rest = PAGE.read_text("utf-8").partition(START)
    PAGE.write_text("\n".join([before + START, *rows(), END]) + rest.partition(END)[2], "utf-8")
    sys.stdout.write(f"{PAGE}: {len(TRAITS)} traits\n")
