"""Exact closest records between tables of mixed types.

Numba is loaded only by problems large enough to need it, so importing this package costs next to nothing
beyond pandas.
"""

from tasks.distance.closest import Tied, closest, closest_counts, closest_tied
from tasks.distance.scale import Metric, Scale, fit_scale

__all__ = ["Metric", "Scale", "Tied", "closest", "closest_counts", "closest_tied", "fit_scale"]
