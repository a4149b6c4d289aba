"""Figures for notebooks and papers, by matplotlib, which is an extra: ``pip install 'waymint[plot]'``."""

from tasks.contract.errors import SpecError

try:
    import matplotlib  # noqa: F401
except ImportError:
    raise SpecError("matplotlib must be installed to draw; it is not.", "Run: pip install 'waymint[plot]'") from None

from waymint.plots.attacks import attacks
from waymint.plots.balance import love
from waymint.plots.cate import cate
from waymint.plots.comparison import effect_errors
from waymint.plots.forest import forest
from waymint.plots.margins import margins
from waymint.plots.overlap import overlap
from waymint.plots.simulation import curves
from waymint.plots.survival import survival

__all__ = ["attacks", "cate", "curves", "effect_errors", "forest", "love", "margins", "overlap", "survival"]
