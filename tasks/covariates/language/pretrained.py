"""The files of a pretrained language model: whether they are there."""

from __future__ import annotations

from tasks.contract.errors import SpecError


def require_pretrained(model: str) -> None:
    """Refuse a model whose files are not on this machine, without loading it.

    Parameters
    ----------
    model : str
        A folder or a hub name.

    Raises
    ------
    SpecError
        If neither the folder nor the local cache has its configuration.
    """
    from transformers.utils import cached_file  # loads transformers: imported where a model is named

    try:
        cached_file(model, "config.json", local_files_only=True)
    except (OSError, ValueError):
        raise not_there(model) from None


def not_there(model: str) -> SpecError:
    """Return the error of a model that can't be loaded."""
    return SpecError(
        f"model of synthesizer 'llm' must be a folder or the name of a downloaded causal language model; got '{model}'.",
        f"Download it first ('hf download {model}'), or set covariates.params.download = true; leave model out to need none.",
    )
