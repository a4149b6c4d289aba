"""The request for a simulation whose law is that of a published release."""

from __future__ import annotations

from tasks.contract.refs import Parent
from tasks.contract.spec import Spec


class FromRelease(Spec):
    """A SPEC together with the release that its source stands for: both decide what is simulated.

    Attributes
    ----------
    parent : Parent
    """

    parent: Parent
