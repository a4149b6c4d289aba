"""Which layers of a pretrained language model were adapted, and why: the panel of the layer card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.pages.numbers import fixed, number, percent

_COUPLED = 0.05


def layer_panel(card: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Arrange what the panel says.

    Parameters
    ----------
    card : mapping or None
        ``LayerCard.as_dict()``: ``layers`` from the bottom up, ``coupling`` between them, ``rows`` of the probe.

    Returns
    -------
    dict or None
        None without a card. Else ``rows`` (``layer``, ``residual``, ``share``, ``energy``, ``rank``, ``condition``, ``parameters``,
        ``coupled``, ``chosen``), ``reading`` (a sentence) and ``probe`` (its rows).
    """
    if card is None:
        return None
    layers, coupling = card["layers"], card["coupling"]
    whole = sum(layer["residual"] ** 2 for layer in layers) or 1.0
    rows = [
        {
            "layer": str(layer["layer"]),
            "residual": fixed(layer["residual"], 3),
            "share": percent(layer["residual"] ** 2 / whole),
            "energy": number(layer["energy"], 2),
            "rank": fixed(layer["rank"], 1),
            "condition": number(layer["condition"], 2),
            "parameters": number(layer["parameters"]),
            "coupled": _coupled(k, coupling),
            "chosen": bool(layer["chosen"]),
        }
        for k, layer in enumerate(layers)
    ]
    return {"rows": rows, "reading": _reading(layers, whole), "probe": number(card["rows"])}


def _coupled(k: int, coupling: list[list[float]]) -> str:
    others = [(abs(cosine), j) for j, cosine in enumerate(coupling[k]) if j != k]
    strongest, j = max(others, default=(0.0, k))
    return f"{j} ({fixed(strongest, 2)})" if strongest > _COUPLED else "none"


def _reading(layers: list[Mapping[str, Any]], whole: float) -> str:
    chosen = [layer for layer in layers if layer["chosen"]]
    if len(chosen) == len(layers):
        return f"All {len(layers)} layers were adapted."
    signal = sum(layer["residual"] ** 2 for layer in chosen) / whole
    cost = sum(layer["parameters"] for layer in chosen) / sum(layer["parameters"] for layer in layers)
    return (
        f"{len(chosen)} of {len(layers)} layers were adapted. They hold {percent(signal)} of the squared residual norms "
        f"for {percent(cost)} of the adapters' weights."
    )
