"""What the functions return: frozen values with frames, plots and tables for notebooks."""

from waymint.results.audit import Audit
from waymint.results.comparison import Comparison
from waymint.results.estimates import Estimates
from waymint.results.release import Release
from waymint.results.result import Result
from waymint.results.simulation import Simulation
from waymint.results.survival import SurvivalEstimates

__all__ = ["Audit", "Comparison", "Estimates", "Release", "Result", "Simulation", "SurvivalEstimates"]
