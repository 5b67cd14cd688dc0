"""What is strict about signatures and envelopes takes what is sent, from PyPI and from npm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.contract.parcels import CASES
from tests.fakes.receiver import Record
from tests.receivers.programs import ask_node, find_node_modules, find_package
from tests.receivers.sending import FORMER, SECRET, Tampering, caught, lowered

every_case = pytest.mark.parametrize("case", CASES)
CLOUDEVENTS = ("cloudevents", "cloudevents-binary")
PLAIN = "not in base64, and long enough"


@every_case
def test_gidgethub_takes_every_push(case: str) -> None:
    sansio = find_package("gidgethub.sansio")
    record = caught(payload="github", case=case)

    event = sansio.Event.from_http(lowered(record.headers), record.body, secret=SECRET)

    assert event.event == "push"
    assert event.delivery_id == record.delivery
    assert event.data["ref"] == CASES[case].event.ref


def test_gidgethub_refuses_what_was_changed_on_its_way() -> None:
    sansio = find_package("gidgethub.sansio")
    gidgethub = find_package("gidgethub")
    record = caught(payload="github", transport=Tampering)

    with pytest.raises(gidgethub.ValidationFailure):
        sansio.Event.from_http(lowered(record.headers), record.body, secret=SECRET)


@pytest.mark.parametrize("secret", [SECRET, FORMER])
@every_case
def test_standard_webhooks_takes_every_event_under_either_secret_of_a_rotation(
    case: str, secret: str
) -> None:
    standardwebhooks = find_package("standardwebhooks")
    record = caught(payload="standard", case=case, secret=SECRET, previous=FORMER)

    said = standardwebhooks.Webhook(secret).verify(record.body, dict(record.headers))

    assert said["ref"] == CASES[case].event.ref
    assert record.header("webhook-id") == record.delivery


def test_standard_webhooks_takes_a_secret_that_is_plain_text() -> None:
    standardwebhooks = find_package("standardwebhooks")
    record = caught(payload="standard", secret=PLAIN)

    said = standardwebhooks.Webhook(PLAIN.encode()).verify(record.body, dict(record.headers))

    assert said["delivery"] == record.delivery


@pytest.mark.parametrize(
    "options", [{"secret": FORMER}, {"secret": None}, {"transport": Tampering}], ids=str
)
def test_standard_webhooks_refuses_what_is_not_genuine(options: Mapping[str, Any]) -> None:
    webhooks = find_package("standardwebhooks.webhooks")
    record = caught(payload="standard", **options)

    with pytest.raises(webhooks.WebhookVerificationError):
        webhooks.Webhook(SECRET).verify(record.body, dict(record.headers))


@pytest.mark.parametrize("payload", CLOUDEVENTS)
@every_case
def test_the_cloudevents_sdk_of_python_reads_every_event(payload: str, case: str) -> None:
    http = find_package("cloudevents.core.bindings.http")
    json = find_package("cloudevents.core.formats.json")
    record = caught(payload=payload, case=case)

    message = http.HTTPMessage(lowered(record.headers), record.body)
    event = http.from_http(message, json.JSONFormat())

    assert event.get_id() == record.delivery
    assert event.get_type().startswith("io.reposentry.")
    assert event.get_subject() == CASES[case].event.ref
    assert event.get_data()["ref"] == CASES[case].event.ref
    assert (event.get_datacontenttype() or "application/json") == "application/json"


def check(by: str, record: Record, **more: Any) -> dict[str, Any]:
    """Write down a delivery and who shall look at it."""
    headers, body = lowered(record.headers), record.body.decode()
    return {"by": by, "headers": headers, "body": body, "secret": SECRET, **more}


def test_the_verifiers_of_npm_take_every_event(tmp_path: Path) -> None:
    modules = find_node_modules()
    expected, checks = [], []
    for case, parcel in CASES.items():
        github = caught(payload="github", case=case)
        standard = caught(payload="standard", case=case, previous=FORMER)
        checks += [check("octokit", github), check("octokit-methods", github)]
        checks += [check("standard", standard), check("standard", standard, secret=FORMER)]
        checks += [check("cloudevents", caught(payload=each, case=case)) for each in CLOUDEVENTS]
        expected += [parcel.event.ref, None, *[parcel.event.ref] * 4]

    said = ask_node(modules, tmp_path, checks)

    assert [each for each in said if not each["taken"]] == []
    assert [each.get("ref") for each in said] == expected
    ids = {each["id"] for each in said if "id" in each}
    assert ids == {parcel.delivery_id for parcel in CASES.values()}


def test_the_verifiers_of_npm_refuse_what_is_not_genuine(tmp_path: Path) -> None:
    modules = find_node_modules()
    github = caught(payload="github", transport=Tampering)
    standard = caught(payload="standard", transport=Tampering)
    checks = [
        check("octokit", github),
        check("octokit-methods", github),
        check("octokit", caught(payload="github", secret=FORMER)),
        check("standard", standard),
        check("standard", caught(payload="standard", secret=FORMER)),
    ]

    said = ask_node(modules, tmp_path, checks)

    assert [each["taken"] for each in said] == [False] * len(checks)
