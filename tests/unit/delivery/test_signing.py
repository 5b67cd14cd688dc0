"""A receiver can tell that a delivery is ours, in the words of its own world."""

import base64
import hashlib
import hmac

import pytest

from app.delivery.payloads import PAYLOADS, TEMPLATE
from app.delivery.signing import SIGNERS, sign
from app.domain.secret import Secret

BODY = b'{"ref":"refs/heads/main"}'
DELIVERY = "3d02d6cd-fdcf-5a99-9bf9-fd742e8e992e"
NOON_S = 1772366400
NEW, OLD = Secret("new secret"), Secret("old secret")


def signed(payload: str, secret: Secret | None, previous: Secret | None = None) -> dict[str, str]:
    return sign(
        payload,
        body=BODY,
        delivery_id=DELIVERY,
        timestamp_s=NOON_S,
        secret=secret,
        previous=previous,
    )


def standard_signature(key: bytes) -> str:
    """Sign as the specification's text says: base64(HMAC-SHA256(key, id.timestamp.body))."""
    content = DELIVERY.encode() + b"." + str(NOON_S).encode() + b"." + BODY
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def test_every_payload_format_has_a_way_of_signing() -> None:
    assert SIGNERS.keys() == {*PAYLOADS, TEMPLATE}


def test_github_is_signed_in_both_ways_that_its_receivers_read() -> None:
    key = b"new secret"

    assert signed("github", NEW) == {
        "X-Hub-Signature-256": "sha256=" + hmac.digest(key, BODY, "sha256").hex(),
        "X-Hub-Signature": "sha1=" + hmac.digest(key, BODY, "sha1").hex(),
    }


def test_github_is_signed_with_the_new_secret_during_a_rotation() -> None:
    assert signed("github", NEW, OLD) == signed("github", NEW)


def test_standard_webhooks_are_signed_with_both_secrets_during_a_rotation() -> None:
    headers = signed("standard", NEW, OLD)

    assert headers["webhook-id"] == DELIVERY
    assert headers["webhook-timestamp"] == str(NOON_S)
    assert headers["webhook-signature"].split(" ") == [
        standard_signature(b"new secret"),
        standard_signature(b"old secret"),
    ]


def test_flux_finds_its_signature_beside_that_of_standard_webhooks() -> None:
    expected = "sha256=" + hmac.digest(b"new secret", BODY, "sha256").hex()

    assert signed("standard", NEW, OLD)["X-Signature"] == expected


@pytest.mark.parametrize("text", ["whsec_Zm9vYg==", "whsec_Zm9vYg"])
def test_a_whsec_secret_is_the_key_it_encodes_with_or_without_padding(text: str) -> None:
    assert signed("standard", Secret(text))["webhook-signature"] == standard_signature(b"foob")


@pytest.mark.parametrize("text", ["whsec_not base64!", "whsec_x"])
def test_what_only_looks_like_a_whsec_secret_is_a_key_like_any_other(text: str) -> None:
    signature = signed("standard", Secret(text))["webhook-signature"]

    assert signature == standard_signature(text.encode())


def test_a_secret_need_not_be_ascii() -> None:
    expected = "sha256=" + hmac.digest("schlüssel".encode(), BODY, "sha256").hex()

    assert signed("github", Secret("schlüssel"))["X-Hub-Signature-256"] == expected


@pytest.mark.parametrize("absent", [None, Secret("")])
def test_without_a_secret_nothing_is_signed(absent: Secret | None) -> None:
    for payload in SIGNERS.keys() - {"standard"}:
        assert signed(payload, absent) == {}
    assert signed("standard", absent) == {
        "webhook-id": DELIVERY,
        "webhook-timestamp": str(NOON_S),
    }


def test_gitlab_is_shown_the_new_secret_itself() -> None:
    assert signed("gitlab", NEW, OLD) == {"X-Gitlab-Token": "new secret"}


@pytest.mark.parametrize("payload", ["cloudevents", "cloudevents-binary", "template"])
def test_formats_without_signatures_of_their_own_are_signed_for_tekton_and_flux(
    payload: str,
) -> None:
    signature = "sha256=" + hmac.digest(b"new secret", BODY, "sha256").hex()

    assert signed(payload, NEW, OLD) == {
        "X-Hub-Signature-256": signature,
        "X-Signature": signature,
    }


def test_an_unknown_format_gets_no_signature() -> None:
    assert signed("pigeon", NEW) == {}
