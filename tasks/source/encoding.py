"""The encoding of a text file: by its first bytes, by being UTF-8 throughout, or by a detector; never a guess in silence."""

from __future__ import annotations

import codecs
import re

import pyarrow.fs as pafs

from tasks.contract.errors import SourceError
from tasks.source.formats import open_bytes
from tasks.source.locate import reading

_CHUNK = 4 << 20
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
#: Encodings that spreadsheets and statistics packages still write.
_LEGACY = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1257",
    "cp437",
    "cp850",
    "mac_roman",
    "shift_jis",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "euc_kr",
]
#: Letters of the languages an encoding was made for, and the signs beside them; the first is taken where several fit alike.
_LETTERS = {
    "cp1252": frozenset("äöüßÄÖÜẞéèêëàâçîïôûùœæÉÈÊÀÂÇÎÔÛŒñÑáíóúÁÍÓÚãõÃÕåÅÆøØìò¿¡ºª°§²³µ€£½±«»‘’“”„–—…·©®×\u00a0"),
    "cp1254": frozenset("çğıöşüâîûÇĞİÖŞÜÂÎÛ°§²³µ€‘’“”–—…\u00a0"),
    "cp1250": frozenset("áéíóúýčďěňřšťůžÁÉÍÓÚÝČĎĚŇŘŠŤŮŽąćęłńśźżĄĆĘŁŃŚŹŻäöüßÄÖÜőűŐŰăâîşţĂÂÎŞŢđĐľĽĺŕôÔ°§€‘’“”„–—…\u00a0"),
}
_LETTER_SHARE, _LONGEST_MEAN_RUN = 0.95, 2.4
_FEWEST_BYTES = 4


def detect_encoding(fs: pafs.FileSystem, path: str, shown: str) -> str:
    """Return the encoding of a text file.

    The whole file is read once: an ASCII head does not determine the rest.

    Parameters
    ----------
    fs : pyarrow.fs.FileSystem
        Where the file lies.
    path, shown : str
        The file, and how messages name it.

    Returns
    -------
    str
        ``"utf-8"`` (also for plain ASCII), ``"utf-8-sig"``, ``"utf-16"`` or a legacy encoding.

    Raises
    ------
    SourceError
        If the bytes are no text, or no single encoding is likely.
    """
    lines: list[bytes] = []
    decoder = codecs.getincrementaldecoder("utf-8")()
    valid, rest = True, b""
    with reading(shown), open_bytes(fs, path) as stream:
        first = True
        while chunk := stream.read(_CHUNK):
            if first:
                for mark, name in _MARKS:
                    if chunk.startswith(mark):
                        return name
                first = False
            if valid:
                try:
                    decoder.decode(chunk)
                    continue
                except UnicodeDecodeError:
                    valid = False
            # lines with bytes beyond ASCII are all that tells encodings apart
            whole = (rest + chunk).split(b"\n")
            rest = whole.pop()
            lines += [line for line in whole if not line.isascii()][: 2000 - len(lines)]
            if len(lines) >= 2000:
                break
    if valid:
        try:
            decoder.decode(b"", final=True)
            return "utf-8"
        except UnicodeDecodeError:
            pass
    lines += [rest] if not rest.isascii() else []
    return _legacy(b"\n".join(lines), shown)


def _legacy(sample: bytes, shown: str) -> str:
    """Return the encoding of lines that are no UTF-8."""
    latin = _latin(sample)
    if latin is not None:
        return latin
    from charset_normalizer import from_bytes  # 60 ms that most files need not wait for

    best = None if b"\0" in sample else from_bytes(sample, cp_isolation=_LEGACY).best()
    if best is None or sum(byte > 127 for byte in sample) < _FEWEST_BYTES:
        raise SourceError(
            f"text of '{shown}' must be UTF-8 or of an encoding that can be told; got bytes that are neither.",
            'Declare it, e.g. source.csv = { encoding = "cp1252" }, or save the file as UTF-8.',
        )
    return str(best.encoding)


def _latin(sample: bytes) -> str | None:
    """Return the Latin encoding in which nearly all bytes beyond ASCII are letters of its languages, None where none is.

    Statistical detectors mistake western for central European text, whose letters share bytes; Latin text has such bytes one by one,
    Greek and Cyrillic text in runs.
    """
    runs = re.findall(rb"[\x80-\xff]+", sample)
    if not runs or sum(map(len, runs)) > _LONGEST_MEAN_RUN * len(runs):
        return None
    shares = {}
    for encoding, letters in _LETTERS.items():
        try:
            beyond = [character for character in sample.decode(encoding) if ord(character) > 127]
        except UnicodeDecodeError:
            continue
        shares[encoding] = sum(character in letters for character in beyond) / len(beyond)
    best = max(shares, key=lambda encoding: shares[encoding], default=None)
    return best if best is not None and shares[best] >= _LETTER_SHARE else None
