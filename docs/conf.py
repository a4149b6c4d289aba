"""Sphinx configuration of the documentation: ``make docs``. Pages are Markdown that GitHub shows too."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

project = "waymint"
version = release = importlib.metadata.version("waymint")
project_copyright = "the authors of waymint, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["notebooks"]

html_theme = "furo"
html_title = f"waymint {version}"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}

# headings as link targets, spelled as GitHub does
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
# code blocks of shell sessions are indented, without a language
highlight_language = "none"

autodoc_typehints = "none"  # the docstrings have them
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
