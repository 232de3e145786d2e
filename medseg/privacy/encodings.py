"""Text in the encodings that files of hospitals are in."""

import html
import re
import urllib.parse

__all__ = ["decodings", "encodings_of", "in_encoding", "looks_like_text", "unescaped"]

JIS = "iso2022_jp_ext"  # JIS X 0208 and half-width kana by escape sequences; DICOM's ISO 2022 IR 87 and IR 13
ESCAPE = b"\x1b"
LEGACY = ("cp932", "euc_jp")
UNICODE = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le")  # the last is NumPy's for arrays of strings
CONTROL = bytes(code for code in range(0x20) if chr(code) not in "\a\b\t\n\v\f\r\x1b")
BLOCK = 4096  # bytes from which a text may be a block of a longer one ...
CUT = 3  # ... whose border may leave so many bytes of a character
ESCAPED = re.compile(r"(?:\\u[0-9a-fA-F]{4})+|(?:\\x[0-9a-fA-F]{2})+|(?:%[0-9a-fA-F]{2})+")


def looks_like_text(data: bytes) -> bool:
    """Whether bytes hold no control characters but those of text."""
    return len(data.translate(None, CONTROL)) == len(data)


def decodings(data: bytes) -> list[str]:
    """Text of bytes in each encoding that they may be in.

    A character that is cut at either end is left out, so that blocks of a long file may be given.

    Examples
    --------
    >>> decodings("山田".encode("cp932"))[0]
    '山田'
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return [data.decode("utf-16", errors="replace")]
    if data.isascii():
        text = data.decode("ascii")
        return [text, data.decode(JIS, errors="replace")] if ESCAPE in data else [text]
    whole = _strictly(data, "utf-8")
    if whole is not None:
        return [whole]
    legacy = [text for text in (_strictly(data, name) for name in LEGACY) if text is not None]
    jis = [data.decode(JIS, errors="replace")] if ESCAPE in data else []
    return [*legacy, *jis, data.decode("latin-1"), data.decode("utf-8", errors="replace")]


def _strictly(data: bytes, encoding: str) -> str | None:
    cut = CUT if len(data) >= BLOCK else 0
    for start in range(cut + 1):
        try:
            return data[start:].decode(encoding)
        except UnicodeDecodeError as error:
            if len(data) - start - error.start <= cut:  # only the last character is cut
                return data[start : start + error.start].decode(encoding)
            if error.start > cut:
                return None
    return None


def unescaped(text: str) -> str:
    r"""Text with its ``\u5c71``, ``\xe5``, ``%E5`` and ``&#23665;`` as characters.

    Examples
    --------
    >>> unescaped("%E5%B1%B1 \\u7530 &#22826;")
    '山 田 太'
    """
    if "\\" in text or "%" in text:
        text = ESCAPED.sub(_characters, text)
    return html.unescape(text) if "&" in text else text


def _characters(match: re.Match[str]) -> str:
    run = match[0]
    if run.startswith("\\u"):
        return bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be", errors="replace")
    data = urllib.parse.unquote_to_bytes(run.replace("\\x", "%"))
    return decodings(data)[0]


def encodings_of(text: str) -> list[str]:
    """Encodings in which a text may stand among binary data."""
    if text.isascii():
        return [*UNICODE]
    return [*UNICODE, *LEGACY, JIS, "latin-1"]


def in_encoding(text: str, encoding: str) -> bytes:
    """Bytes of a text without escape sequences; none where the encoding lacks a character."""
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        return b""
    return re.sub(rb"\x1b[$(][A-Z@]", b"", data) if encoding == JIS else data
