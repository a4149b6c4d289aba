"""How a run ends: as Prefect shows it, by a state of its own name where nothing was published."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.contract.errors import GateFailed

#: A reply, or the state that holds it: Prefect hands the caller what is in the state.
Ending = dict[str, Any] | State[Any]

REJECTED, UNCHANGED = "Rejected", "Unchanged"


def ending(reply: dict[str, Any], rejection: Callable[[dict[str, Any]], GateFailed]) -> Ending:
    """Return what a flow returns: the reply, in a state of its own name where nothing was published.

    Parameters
    ----------
    reply : dict
        Of a release or an augmentation.
    rejection : callable
        Returns the error that a rejected run ends with; the caller of the flow gets it raised.

    Returns
    -------
    dict or State
        The reply of a published run; a failed state "Rejected" whose message names the failed gates; a completed state "Unchanged".
    """
    if reply["status"] == "rejected":
        return rejected(rejection(reply))
    if reply["status"] == "unchanged":
        return Completed(name=UNCHANGED, message=unchanged_line(reply)[0], data=reply)
    return reply


def unchanged_line(reply: dict[str, Any]) -> list[str]:
    """Return the line that says why nothing was published; none where something was."""
    name, version = reply["manifest"]["name"], reply["version"]
    return [f"unchanged: nothing was published, the rows would be those of {name} v{version:06d}"] if reply["status"] == "unchanged" else []


def cost_line(reply: dict[str, Any]) -> list[str]:
    """Return the line of what a run cost; none where it published nothing."""
    cost = reply["manifest"].get("metrics")
    if reply["status"] != "published" or not cost:
        return []
    longest = max(cost["stages"], key=lambda each: float(each["seconds"]))
    return [
        f"cost      {cost['seconds']:.1f} s, {cost['rows_per_second']:,.0f} rows/s, peak memory {cost['peak_mib']:,.0f} MiB; "
        f"longest: {longest['stage']}, {longest['seconds']:.1f} s"
    ]


def rejected(error: GateFailed) -> State[Any]:
    """Return the state of a run that a gate stopped; who calls the flow gets the error raised."""
    return Failed(name=REJECTED, message=str(error), data=error)
