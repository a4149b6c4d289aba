"""A Dockerfile in its parts, so that its steps can be tried where there is no Docker."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple


class Stage(NamedTuple):
    """One build stage with what it inherits.

    Attributes
    ----------
    base : str
        Name of the stage or image that it begins with.
    steps : list of (str, str)
        Its own instructions in order: word and rest.
    environment : dict
        ``ENV`` of the stage and of those it begins with.
    user : str
        Last ``USER``.
    workdir : str
        Last ``WORKDIR``.
    entrypoint, command : list of str
        In exec form.
    """

    base: str
    steps: list[tuple[str, str]]
    environment: dict[str, str]
    user: str
    workdir: str
    entrypoint: list[str]
    command: list[str]

    def runs(self) -> list[str]:
        """Return its ``RUN`` lines."""
        return [rest for word, rest in self.steps if word == "RUN"]


def stages(path: Path) -> dict[str, Stage]:
    """Return the stages of a Dockerfile by their names."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: dict[str, Stage] = {}
    current = ""
    for line in filter(None, (each.strip() for each in text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, current = rest.partition(" AS ")
            above = found.get(base, Stage("", [], {}, "root", "/", [], []))
            found[current] = above._replace(base=base, steps=[], environment=dict(above.environment))
            continue
        if not current:  # ARG before the first stage
            continue
        stage = found[current]
        stage.steps.append((word, rest.strip()))
        if word == "ENV":
            stage.environment.update(item.partition("=")[::2] for item in shlex.split(rest))
        elif word in ("USER", "WORKDIR"):
            found[current] = stage._replace(**{word.lower(): rest.strip()})
        elif word in ("ENTRYPOINT", "CMD"):
            found[current] = stage._replace(**{{"ENTRYPOINT": "entrypoint", "CMD": "command"}[word]: json.loads(rest)})
    return found
