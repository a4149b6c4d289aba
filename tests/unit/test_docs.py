"""The documentation keeps to its form, and what it names exists: links, files, commands, options, keys."""

from __future__ import annotations

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
import typer.main

from infra.cli import app
from tasks.contract.spec import parse_spec

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
LONGEST = 120

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^|(?<=\n\n))((?: {4}.*\n)(?:(?: {4}.*)?\n)*)")
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:\.ci|[a-z]\w*)/(?:[a-z_.*][\w.*-]*/)*(?:[a-z_.*][\w.*-]*)?")  # one "/" between names: no second way to match
PRIVATE = {"infra/secrets", "infra/secrets/"}  # what the reader makes and git ignores
FOLDERS = {"tasks", "flows", "infra", "waymint", "tests", "benchmarks", "docs", "examples", ".ci"}
STEPS = {path.name for path in (ROOT / "tasks").iterdir() if path.is_dir()}


class Text(NamedTuple):
    """A page in its parts."""

    prose: str
    fences: list[tuple[str, str]]
    commands: list[str]


def read(page: str) -> Text:
    """Split a page into prose, fenced blocks and lines of commands."""
    text = (ROOT / page).read_text()
    fences = FENCE.findall(text)
    rest = FENCE.sub("", text)
    indented = INDENTED.findall(rest)
    prose = INDENTED.sub("", rest)
    blocks = [block for language, block in fences if language in ("", "sh", "bash", "console")] + indented
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    inline = [code for code in INLINE.findall(prose) if code.startswith(("waymint ", "make ", "python -m ", "pytest "))]
    return Text(prose, fences, [line.removeprefix("$ ").removeprefix(".venv/bin/") for line in lines] + inline)


def words(line: str) -> list[str]:
    """Return a command's words without what follows two spaces or ``#``: the explanation beside it."""
    command = re.split(r"\s{2,}|\s#", line)[0]
    try:
        return shlex.split(command)
    except ValueError:  # a quotation that goes on in the next line
        return command.split()


def unknown_to_waymint(line: str) -> Iterator[str]:
    """Yield subcommands and options that the command line does not have."""
    command: Any = typer.main.get_command(app)
    arguments = words(line)[1:]
    while arguments and hasattr(command, "commands") and re.fullmatch(r"[a-z]+", arguments[0]):
        if arguments[0] not in command.commands:
            yield arguments[0]
            return
        command = command.commands[arguments.pop(0)]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    yield from (word for word in (each.strip("[]").split("=")[0] for each in arguments) if word.startswith("--") and word not in options)


def unknown_to_benchmarks(line: str) -> Iterator[str]:
    """Yield modules that are not there, and options that their text does not name."""
    arguments = words(line)
    module = arguments[arguments.index("-m") + 1]
    if module.split(".")[0] not in FOLDERS:
        return
    path = ROOT / (module.replace(".", "/") + ".py")
    if not path.exists():
        yield module
        return
    text = path.read_text()
    yield from (word for word in (each.strip("[]").split("=")[0] for each in arguments) if word.startswith("--") and word not in text)


def slug(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)}


def named_paths(text: str) -> Iterator[str]:
    """Yield paths of the repository in inline code: from its root, or from ``tasks`` for a module."""
    for code in INLINE.findall(text):
        for path in code.split():
            if PATH.fullmatch(path):
                first = path.split("/")[0]
                if path not in PRIVATE and (first in FOLDERS or (first in STEPS and path.endswith(".py"))):
                    yield path


@pytest.mark.parametrize("page", NAMES)
def test_lines_are_short(page: str) -> None:
    text = FENCE.sub(lambda block: "\n" * block.group().count("\n"), (ROOT / page).read_text())
    long = [number for number, line in enumerate(text.splitlines(), 1) if len(line) > LONGEST and not line.startswith(("|", "    "))]
    assert long == []


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in LINK.findall((ROOT / page).read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def faulty_link(link: str) -> bool:
    """Whether an external link can't be right by its form: no https, no host, or no DOI, arXiv number or repository where one belongs."""
    parts = urlsplit(link)
    host, path = parts.hostname or "", unquote(parts.path).strip("/")
    forms = {"doi.org": r"10\.\d{4,9}/\S+", "arxiv.org": r"abs/\d{4}\.\d{4,5}", "github.com": r"[\w.-]+/[\w.-]+(/.*)?"}
    wrong = parts.scheme != "https" or not re.fullmatch(r"(?:[a-z0-9-]+\.)+[a-z]{2,}", host) or link[-1] in ".,;:"
    return wrong or not re.fullmatch(forms.get(host, r".*"), path)


@pytest.mark.parametrize("page", NAMES)
def test_external_links_are_well_formed(page: str) -> None:
    """Their form alone: tests run without a network."""
    assert [link for link in LINK.findall((ROOT / page).read_text()) if link.startswith("http") and faulty_link(link)] == []


@pytest.mark.parametrize(
    "link",
    ["http://docs.sdv.dev", "https://localhost/x", "https://doi.org/1214/aos", "https://arxiv.org/abs/25050.1524", "https://github.com/owner",
     "https://docs.sdv.dev."],
)  # fmt: skip
def test_a_malformed_link_is_seen(link: str) -> None:
    assert faulty_link(link)


@pytest.mark.parametrize("page", NAMES)
def test_named_files_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    missing = [path for path in named_paths(text) if not any(True for base in (ROOT, ROOT / "tasks") for _ in base.glob(path))]
    assert missing == []


@pytest.mark.parametrize("page", NAMES)
def test_commands_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    faults = []
    for line in read(page).commands:
        if line.startswith("waymint "):
            faults += [(line, fault) for fault in unknown_to_waymint(line)]
        elif line.startswith("python -m "):
            faults += [(line, fault) for fault in unknown_to_benchmarks(line)]
        elif line.startswith("pytest "):
            paths = [word.split("::")[0] for word in words(line) if word.startswith("tests/")]
            faults += [(line, path) for path in paths if not (ROOT / path).exists()]
        elif line.startswith("make ") and words(line)[1] not in targets:
            faults.append((line, words(line)[1]))
    assert faults == []


@pytest.mark.parametrize("page", [name for name in NAMES if "```toml" in (ROOT / name).read_text()])
def test_keys_of_a_spec_are_valid(page: str) -> None:
    for language, block in read(page).fences:
        if language == "toml":
            values = tomllib.loads(block)
            outcome = next(iter(values.get("outcomes", {})), "score")
            one = {} if "outcomes" in values.get("roles", {}) else {"outcome": outcome}
            base: dict[str, Any] = {"name": "trial", "source": {"uri": "trial.csv"}, "roles": {"treatment": "drug", **one}}
            parse_spec(base | {key: {**base.get(key, {}), **each} if isinstance(each, dict) else each for key, each in values.items()})


@pytest.mark.parametrize(("script", "stored"), [("spec_reference", "spec.md"), ("command_reference", "command-line.md")])
def test_a_reference_is_what_the_code_gives(script: str, stored: str) -> None:
    spec = importlib.util.spec_from_file_location(script, ROOT / ".ci" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / stored).read_text() == module.page(), f"run: .venv/bin/python .ci/{script}.py"


def test_every_page_is_in_the_site() -> None:
    """In the table of contents, or matched by its pattern."""
    listed = [
        line
        for block in re.findall(r"```{toctree}\n(.*?)```", (ROOT / "docs" / "index.md").read_text(), re.DOTALL)
        for line in block.split()
    ]
    shown = {path for pattern in listed if not pattern.startswith(":") for path in (ROOT / "docs").glob(f"{pattern}.md")}
    assert set((ROOT / "docs").rglob("*.md")) - shown == {ROOT / "docs" / "index.md"}, "name it in a toctree of docs/index.md"


@pytest.mark.parametrize(
    "line", ["waymint mint SPEC", "waymint release SPEC --sett a=b", "waymint releases lst", "waymint releases gc X --older 3"]
)
def test_a_wrong_command_is_seen(line: str) -> None:
    assert list(unknown_to_waymint(line))


def test_a_wrong_module_or_option_of_a_benchmark_is_seen() -> None:
    assert list(unknown_to_benchmarks("python -m benchmarks.nothing")) == ["benchmarks.nothing"]
    assert list(unknown_to_benchmarks("python -m benchmarks.engine --nothing 3")) == ["--nothing"]


def test_paths_are_taken_from_inline_code() -> None:
    assert list(named_paths("see `tasks/none.py`, `source/rows.py`, `checks/results.json` and `docs/`")) == [
        "tasks/none.py",
        "source/rows.py",
        "docs/",
    ]
