"""One way to fill a page: the base template and style of all pages, a step's own content, the same formats everywhere."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tasks.pages.numbers import count, fixed, moment, number, percent, plural, seconds
from tasks.pages.svg import clipped

_BASE = Path(__file__).parent


def fill(folder: Path, name: str, **values: object) -> bytes:
    """Fill a step's template, which extends ``base.html.j2``.

    Parameters
    ----------
    folder : Path
        Where the step keeps its templates.
    name : str
        The template.
    **values : object
        What it shows; a name that is missing is an error.

    Returns
    -------
    bytes
        UTF-8 HTML without any reference to another file or host; the same bytes for the same values.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, _BASE]), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        number=number, percent=percent, moment=moment, clipped=clipped, count=count, fixed=fixed, seconds=seconds, plural=plural
    )
    return environment.get_template(name).render(**values).encode()
