"""Git's pkt-line framing: four hex digits of length, then the line (gitprotocol-common)."""

from app.domain.errors import ForgeAnswerInvalid

FLUSH = b"0000"
DELIMITER = b"0001"


def encode(text: str) -> bytes:
    r"""Frame one line; its newline is added.

    >>> encode("command=ls-refs")
    b'0014command=ls-refs\n'
    """
    line = text.encode() + b"\n"
    return b"%04x%b" % (len(line) + 4, line)


def read_section(body: bytes, start: int = 0) -> tuple[list[bytes], int]:
    r"""Return the lines up to the next flush, without their newlines, and where the next begins.

    >>> read_section(b"0006a\n0005b0000rest")
    ([b'a', b'b'], 15)

    Raises:
        ForgeAnswerInvalid: There is no flush, a line is cut off, or it is no pkt-line at all.
    """
    lines: list[bytes] = []
    at, end = start, len(body)
    while at + 4 <= end:
        size = _size(body[at : at + 4])
        if size == 0:
            return lines, at + 4
        if size < 4 or at + size > end:  # noqa: PLR2004 - the length's own four digits
            break
        line = body[at + 4 : at + size]
        if line.startswith(b"ERR "):
            raise ForgeAnswerInvalid(f"the git server says: {_printable(line[4:])}")
        lines.append(line.removesuffix(b"\n"))
        at += size
    if not body:
        raise ForgeAnswerInvalid("the git server's answer is empty")
    raise ForgeAnswerInvalid("the git server's answer is cut off")


def _size(digits: bytes) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise ForgeAnswerInvalid("the answer is not in git's protocol") from None


def _printable(message: bytes) -> str:
    text = message.decode("utf-8", "replace").strip()
    return "".join(character if character.isprintable() else " " for character in text)[:300]
