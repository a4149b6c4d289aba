"""The command that proposes a SPEC for a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from infra.cli.options import JsonOption
from infra.cli.progress import suggest
from infra.cli.replies import entry, print_reply, visible
from tasks.contract.errors import SpecError


def init(
    file: Annotated[str, typer.Argument(metavar="FILE", help="a table: a file, a folder, a glob or builtin:NAME")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="SPEC", help="a new .toml file; named like FILE")] = None,
    treatment: Annotated[str | None, typer.Option(metavar="COL", help="column of the treatment; asked where left out")] = None,
    outcome: Annotated[str | None, typer.Option(metavar="COL", help="column of the outcome; asked where left out")] = None,
    treated: Annotated[str | None, typer.Option(metavar="LABEL", help="label that means treated; not needed for yes/no and 0/1")] = None,
    control: Annotated[
        str | None, typer.Option(metavar="LABEL", help="label of the reference arm; asked where more than two labels leave it open")
    ] = None,
    event: Annotated[str | None, typer.Option(metavar="LABEL", help="label of a two-valued outcome that counts as 1")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing SPEC")] = False,
    json_: JsonOption = False,
) -> None:
    """Profile a table and write a commented SPEC for it; treatment and outcome are asked, never guessed."""
    module = entry("init")
    path = output if output is not None else Path(f"{module.release_name(file)}.toml")
    if path.suffix.lower() != ".toml":
        raise SpecError(f"output of init must end in .toml; got '{path}'.", "For example -o trial.toml.")
    if path.exists() and not force:
        raise SpecError(f"output of init must be a new file; got '{path}', which exists.", "Name another with -o, or add --force.")
    profiled = module.profile(file)
    if not json_:
        print_reply(None, module.screen(profiled), False)
    ask = not json_ and sys.stdin.isatty()
    a = _column(module, profiled, "treatment", treatment, ask)
    one, reference = _arms(module, a, treated, control, ask)
    y = _column(module, profiled, "outcome", outcome, ask, a.name)
    if y.name == a.name:
        raise SpecError(f"outcome of init must be another column than the treatment; got '{y.name}' for both.", "")
    counted = _label(module, y, event, "outcome", ask) if y.labels is not None and len(y.labels) == 2 and _worded(y.labels) else None
    text, reply = module.draft(profiled, module.Named(a.name, y.name, one, counted, reference))
    _write(path, text)
    lines = [f"left out: '{name}' ({reason})" for name, reason in reply["left_out"].items()]
    lines += [f"relation: {relation}" for relation in reply["relations"]]
    lines += [f"note: {doubt}" for doubt in reply["warnings"] if doubt not in profiled.notes]
    print_reply({**reply, "spec": str(path)}, [*lines, f"written: {path}"], json_)
    suggest(f"waymint check {path}, then waymint release {path}", json_)


def _column(module: Any, profiled: Any, role: Literal["treatment", "outcome"], name: str | None, ask: bool, taken: str = "") -> Any:
    """Return the column of a role: as an option names it, else as the user answers."""
    names = [each for each in module.candidates(profiled.columns, role) if each != taken]
    if name is None:
        if not names:
            rule = "with two labels" if role == "treatment" else "of numbers or two labels"
            raise SpecError(f"table of init must have a column {rule} for the {role}; got none.", f"Name it with --{role}.")
        if not ask:
            raise SpecError(f"{role} of init must be named; got no --{role} and no terminal to ask on.", f"Candidates: {_listed(names)}.")
        name = _choice(f"Which column is the {role}?", names, [column.name for column in profiled.columns])
    return module.require_column(name, profiled.columns, role)


def _label(module: Any, column: Any, wanted: str | None, role: Literal["treatment", "outcome"], ask: bool) -> str:
    """Return the label that means treated, or counts as 1."""
    label: str | None = module.positive_label(column, wanted, role)
    if label is not None:
        return label
    key, meaning = ("treated", "means treated") if role == "treatment" else ("event", "counts as 1")
    labels = list(column.labels)
    if not ask:
        text = f"{key} of init must be named, since '{column.name}' has two labels of no known pair; got no --{key}."
        raise SpecError(text, f"Labels: {_listed(labels)}.")
    return _choice(f"Which label of '{column.name}' {meaning}?", labels, labels)


def _arms(module: Any, column: Any, treated: str | None, control: str | None, ask: bool) -> tuple[str | None, str | None]:
    """Return the label that means treated, of two; of more the label of the reference arm."""
    labels, count = list(column.labels), len(column.labels)
    reference: str | None = module.reference_label(column, control)
    if count == 2:
        if control is None:
            return _label(module, column, treated, "treatment", ask), None
        other = next(label for label in labels if label != reference)
        if treated is not None and module.positive_label(column, treated, "treatment") != other:
            raise SpecError(f"control of init must be another label than treated; got '{reference}' for both.", "Leave one out.")
        return other, None
    if treated is not None:
        text = f"treated of init must be left out where '{column.name}' has {count} labels; got '{treated}'."
        raise SpecError(text, "Name the reference by --control.")
    if reference is None:
        if not ask:
            text = f"control of init must be named, since '{column.name}' has {count} labels; got no --control."
            raise SpecError(text, f"Labels: {_listed(labels)}.")
        reference = _choice(f"Which label of '{column.name}' is the control, which other arms are compared with?", labels, labels)
    return None, reference


def _worded(labels: Sequence[str]) -> bool:
    """Whether labels are words: numbers other than 0 and 1 may be amounts."""
    return not all(label.replace(".", "", 1).lstrip("+-").isdigit() for label in labels)


def _choice(question: str, names: Sequence[str], choices: Sequence[str]) -> str:
    """Ask until the answer is a number of the list or a name; the question goes to stderr."""
    listed = "\n".join(f"  {number}. {visible(name)}" for number, name in enumerate(names, 1))
    while True:
        answer = str(typer.prompt(f"{question}\n{listed}\nNumber or name", err=True)).strip()
        if answer in choices:
            return answer
        if answer.isdigit() and 1 <= int(answer) <= len(names):
            return names[int(answer) - 1]
        sys.stderr.write(f"'{visible(answer)}' is neither a number of the list nor a name.\n")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:20]) + (", ..." if len(names) > 20 else "")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise SpecError(f"output of init must be writable; '{path}' is not ({error.strerror}).", "Name another with -o.") from None
