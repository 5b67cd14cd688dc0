"""What proves to a receiver that a delivery is ours: signatures, as each payload's world has them.

Signatures are made anew at every attempt, over the very bytes that are sent.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable

from app.domain.secret import Secret

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
WHSEC = "whsec_"


def sign(
    payload: str,
    *,
    body: bytes,
    delivery_id: str,
    timestamp_s: int,
    secret: Secret | None,
    previous: Secret | None = None,
) -> dict[str, str]:
    """Return the headers that sign ``body``.

    Args:
        payload: The payload format, which tells how its world signs.
        body: The bytes that will be sent.
        delivery_id: The same at every attempt, so that a receiver can tell a repeat.
        timestamp_s: When this attempt is made, in seconds since 1970.
        secret: What both sides know; without one nothing is signed.
        previous: The secret before a rotation, where the payload's world can carry both.
    """
    signer = SIGNERS.get(payload)
    if signer is None:
        return {}
    secrets = [each for each in (secret, previous) if each]
    return signer(body, delivery_id, timestamp_s, secrets)


def hub(body: bytes, *, secret: bytes, algorithm: str = "sha256") -> str:
    """Return a signature as GitHub writes it; the vector stands in GitHub's documentation.

    https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries

    >>> hub(b"Hello, World!", secret=b"It's a Secret to Everybody")
    'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    """
    return f"{algorithm}={hmac.new(secret, body, algorithm).hexdigest()}"


def webhook_v1(body: bytes, *, message_id: str, timestamp_s: int, key: bytes) -> str:
    """Return one signature as Standard Webhooks writes it; the vector is that of its libraries.

    >>> webhook_v1(
    ...     b'{"test": 2432232314}',
    ...     message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
    ...     timestamp_s=1614265330,
    ...     key=webhook_key(Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")),
    ... )
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def webhook_key(secret: Secret) -> bytes:
    """Return the key within a ``whsec_…`` secret, or any other secret as the bytes it is.

    >>> webhook_key(Secret("whsec_c2VzYW1l")), webhook_key(Secret("open sesame"))
    (b'sesame', b'open sesame')
    """
    text = secret.reveal()
    if not text.startswith(WHSEC):
        return text.encode()
    encoded = text.removeprefix(WHSEC)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:  # it only looks like one
        return text.encode()


def _github(
    body: bytes, delivery_id: str, timestamp_s: int, secrets: list[Secret]
) -> dict[str, str]:
    """Sign with the current secret alone: these headers hold one signature each.

    SHA-1 is weak, and all that Buildbot reads.
    """
    if not secrets:
        return {}
    key = secrets[0].reveal().encode()
    return {
        "X-Hub-Signature-256": hub(body, secret=key),
        "X-Hub-Signature": hub(body, secret=key, algorithm="sha1"),
    }


def _gitlab(
    body: bytes, delivery_id: str, timestamp_s: int, secrets: list[Secret]
) -> dict[str, str]:
    """Show the secret itself, as GitLab does: whoever sees the request knows it."""
    return {"X-Gitlab-Token": secrets[0].reveal()} if secrets else {}


def _generic(
    body: bytes, delivery_id: str, timestamp_s: int, secrets: list[Secret]
) -> dict[str, str]:
    """Sign what has no world of its own as Tekton's interceptor and Flux's generic-hmac read it."""
    if not secrets:
        return {}
    signature = hub(body, secret=secrets[0].reveal().encode())
    return {"X-Hub-Signature-256": signature, "X-Signature": signature}


def _standard(
    body: bytes, delivery_id: str, timestamp_s: int, secrets: list[Secret]
) -> dict[str, str]:
    """Sign with every secret in force; ``X-Signature`` is what Flux's generic-hmac reads."""
    headers = {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp_s)}
    if secrets:
        headers["webhook-signature"] = " ".join(
            webhook_v1(
                body, message_id=delivery_id, timestamp_s=timestamp_s, key=webhook_key(secret)
            )
            for secret in secrets
        )
        headers["X-Signature"] = hub(body, secret=secrets[0].reveal().encode())
    return headers


# Payload format to its way of signing; the secrets come in order, the current one first.
SIGNERS: dict[str, Callable[[bytes, str, int, list[Secret]], dict[str, str]]] = {
    "github": _github,
    "gitlab": _gitlab,
    "cloudevents": _generic,
    "cloudevents-binary": _generic,
    "standard": _standard,
    "template": _generic,
}
