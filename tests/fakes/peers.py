"""Receivers that are no Tekton, as they were observed; and answers that nobody should send.

Each function or object here is an ``answer`` of ``RecordingReceiver``. Buildbot's and webhook's
are held to the real programs by ``tests/receivers``.
"""

import gzip
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.fakes.receiver import Record, Reply

Answer = Callable[[Record], Reply]


def pipelines_as_code(request: Record) -> Reply:
    """Answer as Pipelines-as-Code: 202 taken, 200 skipped, 400 not understood.

    The signature is looked at after the answer, so a wrong one is 202 as well.
    """
    said = _parsed(request.body)
    if not isinstance(said, dict):
        return 400, {}, b'{"message":"no supported Git provider has been detected"}'
    if request.header("X-GitHub-Event") != "push":
        return 200, {}, b'{"status":200,"message":"skipped: event is not supported"}'
    needed = ("ref", "after", "sender", "repository")
    if any(not said.get(key) for key in needed) or not said["repository"].get("html_url"):
        return 400, {}, b'{"message":"error parsing payload: missing fields"}'
    return 202, {}, b'{"status":202,"message":"accepted"}'


def buildbot(secret: str) -> Answer:
    """Return how Buildbot's ``github`` hook answers, with a secret and strict."""

    def answer(request: Record) -> Reply:
        given = request.header("X-Hub-Signature")
        if not given:
            return 400, {}, b"Request has no required signature"
        right = hmac.new(secret.encode(), request.body, hashlib.sha1).hexdigest()
        if not hmac.compare_digest(given, f"sha1={right}"):
            return 400, {}, b"Hash mismatch"
        # Exactly this: a charset beside it is another type.
        if request.header("Content-Type") != "application/json":
            return 400, {}, b"Unknown content type"
        if request.header("X-GitHub-Event") != "push":
            return 400, {}, b"Unknown event"
        return _changes(json.loads(request.body))

    return answer


def _changes(said: Mapping[str, Any]) -> Reply:
    if said.get("deleted"):
        return 200, {}, b"no change found"
    try:
        said["head_commit"]["message"].splitlines()
        count = sum(bool(each["id"] and each["author"]["name"]) for each in said["commits"])
    except (KeyError, TypeError):
        return 500, {}, b"Error processing changes."
    return 200, {}, f"{count or 'no'} change found".encode()


def webhook(secret: str, *, ref: str | None = None) -> Answer:
    """Return how adnanh/webhook answers for one hook, that wants a signature and perhaps a ref."""

    def answer(request: Record) -> Reply:
        given = request.header("X-Hub-Signature-256")
        if given is None:  # a rule about what is not there is not met
            return 200, {}, b"Hook rules were not satisfied."
        right = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(given, f"sha256={right}"):
            return 500, {}, b"Error occurred while evaluating hook rules."
        if ref is not None and request.json["ref"] != ref:
            return 200, {}, b"Hook rules were not satisfied."
        return 200, {}, b""

    return answer


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _raw(status: str, *headers: bytes, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status}".encode(), *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


# Answers that a broken or hostile receiver may send, by what is wrong with them; each is the
# whole of what goes over the wire. None may break the sender, whatever it makes of them.
HOSTILE: Mapping[str, bytes] = {
    "header of a megabyte": _raw("202 Accepted", b"X-Long: " + b"x" * 1_100_000),
    "a thousand headers": _raw("202 Accepted", *(b"X-%d: y" % n for n in range(1000))),
    "header without a colon": _raw("202 Accepted", b"this is no header"),
    "bytes that are no text": _raw("202 Accepted", b"X-Odd: \xff\xfe"),
    "retry after for ever": _raw("503 Later", b"Retry-After: " + b"9" * 400),
    "retry after the past": _raw("503 Later", b"Retry-After: Thu, 01 Jan 1970 00:00:00 GMT"),
    "retry after nonsense": _raw("429 Slowly", b"Retry-After: -1; DROP TABLE"),
    "gzip that swells": _raw(
        "202 Accepted", b"Content-Encoding: gzip", body=gzip.compress(b"\0" * 50_000_000)
    ),
    "gzip that is none": _raw("202 Accepted", b"Content-Encoding: gzip", body=b"not at all"),
    "length that is none": b"HTTP/1.1 202 Accepted\r\nContent-Length: many\r\n\r\n{}",
    "body longer than it says": _raw("202 Accepted") + b"HTTP/1.1 500 Another\r\n\r\n",
    "redirect to itself": _raw("302 Found", b"Location: /"),
    "redirect to elsewhere": _raw("307 Moved", b"Location: http://169.254.169.254/?key=s3cret"),
    "status that is none": b"HTTP/1.1 999999 What\r\n\r\n",
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.9\r\n",
    "nothing but a status": b"HTTP/1.1 202\r\n\r\n",
    "words of a script": _raw("400 No", body=b"<script>alert(1)</script>\x00\x1b[31m\xff" * 100),
}
