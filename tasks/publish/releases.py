"""Published releases, as commands use them: list, show, verify, pull, sign, compare and collect."""

from tasks.publish.collect import Action, gc
from tasks.publish.difference import Change, Difference, EffectChange, diff
from tasks.publish.listing import Listing, ReleaseInfo, latest_version, list_releases, manifest_bytes, scan_releases, show
from tasks.publish.verification import Problem, pull, sign, signature_paths, sound_bytes, sound_table, verify

__all__ = [
    "Action",
    "Change",
    "Difference",
    "EffectChange",
    "Listing",
    "Problem",
    "ReleaseInfo",
    "diff",
    "gc",
    "latest_version",
    "list_releases",
    "manifest_bytes",
    "pull",
    "scan_releases",
    "show",
    "sign",
    "signature_paths",
    "sound_bytes",
    "sound_table",
    "verify",
]
