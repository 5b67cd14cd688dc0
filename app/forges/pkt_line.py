"""Git's pkt-line framing: four hex digits of length, then the line (gitprotocol-common)."""

from collections.abc import Iterator

from app.domain.errors import ForgeAnswerInvalid

FLUSH = b"0000"
DELIMITER = b"0001"
# How a line begins that is as long, by its length without the newline; longer ones are rare.
_LENGTHS = ("", "", "", "", *(f"{length + 1:04x}" for length in range(4, 1024)))


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


def read_plain(body: bytes) -> list[str] | None:
    r"""Return the lines of one section in ASCII, all at once; None where it is not as plain.

    Each must end with its newline. Of tens of thousands of lines this takes a third of the time.

    >>> read_plain(b"0006a\n0007bc\n0000"), read_plain(b"0005a0000"), read_plain(b"0006a\n")
    (['a', 'bc'], None, None)
    """
    if not body.endswith(b"\n0000") or not body.isascii() or b"ERR " in body:
        return None
    lines = body[:-5].decode("ascii").split("\n")
    try:
        is_plain = all(line[:4] == _LENGTHS[len(line)] for line in lines)
    except IndexError:
        return None
    return [line[4:] for line in lines] if is_plain else None


def read_sections(body: bytes) -> dict[bytes, list[bytes]]:
    r"""Return the sections of a whole answer by their names, their lines as they came.

    >>> read_sections(b"0008one\n0006a\n00010008two\n0006b\n0000")
    {b'one': [b'a\n'], b'two': [b'b\n']}

    Raises:
        ForgeAnswerInvalid: It does not end with a flush, or is no answer in sections at all.
    """
    sections: dict[bytes, list[bytes]] = {}
    lines: list[bytes] | None = None
    for line in _packets(body):
        if line is None:
            lines = None
        elif lines is None:
            lines = sections.setdefault(line.removesuffix(b"\n"), [])
        else:
            lines.append(line)
    return sections


def _packets(body: bytes) -> Iterator[bytes | None]:
    """Tell each line as it came, and None for a delimiter; the flush must be the end."""
    at, end = 0, len(body)
    while at + 4 <= end:
        size = _size(body[at : at + 4])
        if size == 0 and at + 4 == end:
            return
        if size == 1:
            yield None
            at += 4
            continue
        if size < 4 or at + size > end:  # noqa: PLR2004 - the length's own four digits
            break
        line = body[at + 4 : at + size]
        if line.startswith(b"ERR "):
            raise ForgeAnswerInvalid(f"the git server says: {_printable(line[4:])}")
        yield line
        at += size
    raise ForgeAnswerInvalid("the git server's answer is cut off")


def _size(digits: bytes) -> int:
    try:
        return int(digits, 16)
    except ValueError:
        raise ForgeAnswerInvalid("the answer is not in git's protocol") from None


def _printable(message: bytes) -> str:
    text = message.decode("utf-8", "replace").strip()
    return "".join(character if character.isprintable() else " " for character in text)[:300]
