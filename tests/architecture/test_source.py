"""Rules on the text of the four packages that import-linter can't express."""

from __future__ import annotations

import ast
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for package in ("waymint", "flows", "tasks", "infra") for path in (ROOT / package).rglob("*.py"))
BANNED_NAMES = {"utils", "util", "helpers", "helper", "manager", "misc", "common"}
CONTRACT_MAY_IMPORT = {"numpy", "pyarrow", "pydantic", "tasks"} | set(sys.stdlib_module_names)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def environment_reads(tree: ast.AST) -> Iterator[int]:
    """Lines that touch the process environment, by whatever name os was imported."""
    banned = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    imported = [alias for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules = {alias.asname or alias.name for alias in imported if alias.name == "os"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "os" and banned & {alias.name for alias in node.names}:
            yield node.lineno
        if isinstance(node, ast.Attribute) and node.attr in banned and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield node.lineno


def prints(tree: ast.AST) -> Iterator[int]:
    """Lines that call print."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield node.lineno


def broad_excepts(tree: ast.AST) -> Iterator[int]:
    """Lines that catch everything."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(kind is None or (isinstance(kind, ast.Name) and kind.id in {"Exception", "BaseException"}) for kind in caught):
                yield node.lineno


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Top-level names imported outside ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "tasks").split(".")[0]
        else:
            yield from runtime_imports(node)


@pytest.mark.parametrize(
    ("rule", "allowed"),
    [(environment_reads, {"infra/settings.py"}), (prints, set()), (broad_excepts, set())],
    ids=["environment", "print", "except"],
)
def test_no_file_breaks_the_rule(rule: Callable[[ast.AST], Iterator[int]], allowed: set[str]) -> None:
    offenders = [f"{name_of(path)}:{line}" for path in FILES if name_of(path) not in allowed for line in rule(ast.parse(path.read_text()))]
    assert offenders == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (environment_reads, "import os\nos.environ['A']"),
        (environment_reads, "import os as o\no.getenv('A')"),
        (environment_reads, "from os import environ"),
        (prints, "def f():\n    print(1)"),
        (broad_excepts, "try:\n    pass\nexcept:\n    pass"),
        (broad_excepts, "try:\n    pass\nexcept (ValueError, Exception):\n    pass"),
    ],
)
def test_the_rule_finds_an_offender(rule: Callable[[ast.AST], Iterator[int]], text: str) -> None:
    assert len(list(rule(ast.parse(text)))) == 1


def test_settings_really_is_the_file_that_reads_the_environment() -> None:
    assert list(environment_reads(ast.parse((ROOT / "infra/settings.py").read_text())))


def test_the_contract_imports_only_its_four() -> None:
    offenders = {
        (name_of(path), name)
        for path in (ROOT / "tasks/contract").glob("*.py")
        for name in runtime_imports(ast.parse(path.read_text()))
        if name not in CONTRACT_MAY_IMPORT
    }
    assert offenders == set()
    assert list(runtime_imports(ast.parse("def f():\n    import pandas"))) == ["pandas"]


def test_names_say_what_a_module_is() -> None:
    assert [name_of(path) for path in FILES if path.stem in BANNED_NAMES] == []
    packages = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    # a flow file is loaded by path, with its folder first on the import path: it must not hide a package
    assert [name_of(path) for path in (ROOT / "flows").glob("*.py") if path.stem in packages] == []


def test_the_contract_is_light() -> None:
    """Importing the vocabulary loads none of the heavy libraries."""
    modules = ", ".join(f"tasks.contract.{path.stem}" for path in sorted((ROOT / "tasks/contract").glob("*.py")) if path.stem != "__init__")
    heavy = {"boto3", "dask", "pandas", "prefect", "scipy", "sklearn", "torch"}
    program = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


PARTICIPLES = {"told", "asked", "found", "known", "own", "made", "settled", "begun"}
REMAINING = ROOT / "tests/architecture/participles.txt"


def participles(tree: ast.AST) -> Iterator[str]:
    """Names of functions, parameters and variables that are a participle alone: they don't say what the thing is."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.arg):
            names = [node.arg]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.alias):
            names = [node.asname or node.name]
        yield from (name for name in names if name.strip("_").lower() in PARTICIPLES)


def test_names_are_nouns_and_verbs() -> None:
    """Files on the list have so many such names left: the list only shrinks."""
    allowed = {path: int(count) for path, count in (line.split() for line in REMAINING.read_text().splitlines())}
    counts = {name_of(path): len(list(participles(ast.parse(path.read_text())))) for path in FILES}
    more = {path: count for path, count in counts.items() if count > allowed.get(path, 0)}
    assert more == {}, "rename these: a name is a noun for a thing or a verb for an act"
    assert [path for path in allowed if not counts.get(path)] == [], "take these off tests/architecture/participles.txt"
    assert [name_of(path) for path in FILES if path.stem in PARTICIPLES] == []


@pytest.mark.parametrize(
    "text",
    [
        "def told(): ...",
        "def _known(self): ...",
        "def f(found): ...",
        "def f(*, asked: int): ...",
        "found = 1",
        "for own in rows: ...",
        "class A:\n    known: int",
        "(made := 1)",
        "from a import b as settled",
        "lambda begun: 1",
    ],
)
def test_a_participle_alone_is_an_offender(text: str) -> None:
    assert len(list(participles(ast.parse(text)))) == 1


@pytest.mark.parametrize("text", ["known_rows = 1", "own_vocabulary = 1", "x.found", "f(known=1)", "'found'"])
def test_a_participle_with_a_noun_is_none(text: str) -> None:
    assert list(participles(ast.parse(text))) == []


def label_faults(tree: ast.AST) -> Iterator[str]:
    """Functions whose run name, the second text of ``@coarse`` or ``flow_run_name``, uses a name that is no parameter of theirs."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        parameters = {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
        for call in (each for each in node.decorator_list if isinstance(each, ast.Call)):
            texts = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "flow_run_name")]
            labels = [text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str)]
            fields = {field.split(".")[0] for label in labels for _, field, _, _ in string.Formatter().parse(label) if field}
            if fields - parameters:
                yield node.name


def test_names_of_runs_use_the_parameters_of_their_function() -> None:
    assert [f"{name_of(path)}: {name}" for path in FILES for name in label_faults(ast.parse(path.read_text()))] == []
    assert list(label_faults(ast.parse('@coarse("a", "a {x.y}")\ndef f(z): ...'))) == ["f"]
    assert list(label_faults(ast.parse('@flow(flow_run_name="a {x}")\ndef f(x): ...'))) == []
