"""A template says what its author wants, and its mistakes are found before it is used."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.delivery.payloads import Payloads
from app.delivery.payloads.samples import SAMPLES
from app.domain.delivery import Parcel
from app.domain.details import Details
from app.domain.errors import ConfigurationInvalid, PayloadUnrenderable
from app.settings.types import Receiver

TOLD = SAMPLES["a push of which the forge told all"]
BARE = SAMPLES["a push of which the forge told nothing"]
PLAIN = {"content-type": "text/plain; charset=utf-8"}
FILE = Path("templates") / "ci.json.j2"


def payloads(text: str, **options: dict[str, str]) -> Payloads:
    receiver = Receiver(
        "sample",
        "https://ci.example.com/",
        payload="template",
        template=text,
        template_file=FILE,
        **options,  # type: ignore[arg-type] # only headers
    )
    return Payloads({"sample": receiver})


def written(text: str, parcel: Parcel = TOLD) -> str:
    return payloads(text, headers=PLAIN).render(parcel).body.decode()


def mistake(text: str) -> str:
    with pytest.raises(ConfigurationInvalid) as caught:
        payloads(text)
    (only,) = caught.value.mistakes
    assert only.path == "receivers.sample.template"
    return str(only).replace(str(FILE), "FILE").replace(" receivers.sample.template:", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ event.kind }} {{ event.change }} {{ event.forced }}", "branch_updated updated False"),
        ("{{ repository.full_name }} {{ repository.name }}", "acme/website acme/website"),
        ("{{ branch.name }} {{ branch.slug }}", 'feature/"x" feature-x-'),
        ("{{ commit.author.username }} {{ pusher.username }}", "ada ada"),
        ("{{ commits | length }} {{ commits_count }} {{ short_sha }}", "1 1 e5bd391"),
        ("{{ labels.team }}/{{ labels.nothing }}", "platform/"),
        ("{% for c in commits %}{{ c.added | join(', ') }}{% endfor %}", 'a "file"'),
        ("{{ receiver }} {{ delivery }}", f"sample {TOLD.delivery_id}"),
        ("{{ '<größe>' | tojson }} {{ '<größe>' }}", '"<gr\\u00f6\\u00dfe>" <größe>'),
        ("{% for n in range(3) %}{{ n }}{% endfor %} {{ range(9) | length }}", "012 9"),
        ("{% macro m(n) %}{% for i in range(n) %}-{% endfor %}{% endmacro %}{{ m(3) }}", "---"),
    ],
)
def test_a_template_is_given_what_the_standard_payload_says(text: str, expected: str) -> None:
    assert written(text).startswith(expected)


@pytest.mark.parametrize("sort", SAMPLES)
def test_nothing_is_missing_where_the_forge_told_nothing(sort: str) -> None:
    text = (
        "{{ commit.id }} {{ commit.message }} {{ commit.url }} {{ commit.author.name }}"
        " {{ pusher.name }} {{ pusher.email }} {{ repository.default_branch }}"
        "{% for c in commits %}{% for path in c.added + c.modified + c.removed %}{{ path }}"
        "{% endfor %}{% endfor %}"
    )

    assert "None" not in written(text, SAMPLES[sort])


def test_lists_of_files_are_empty_where_nobody_told_of_them() -> None:
    assert TOLD.details is not None
    (commit,) = TOLD.details.commits
    untold = replace(commit, added=None, modified=None, removed=None, url=None)
    parcel = replace(TOLD, details=Details((untold,)))

    assert (
        written("{{ commit.added }} {{ commit.url }}", parcel)
        == f"[] {BARE.repository_url}/commit/{untold.id}"
    )


def test_a_template_is_json_unless_the_receiver_says_otherwise() -> None:
    usual = payloads('{"ref": {{ event.ref | tojson }}}').render(BARE)
    plain = payloads("{{ event.ref }}", headers=PLAIN).render(BARE)

    assert usual.headers["Content-Type"] == "application/json"
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert plain.headers["X-RepoSentry-Delivery"] == BARE.delivery_id
    assert plain.headers["X-RepoSentry-Event"] == BARE.event.id


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '{"a":\n{{ comit.id }}}',
            "FILE:2: there is no «comit»; did you mean commit?",
        ),
        (
            "{% if false %}\n{{ request }}{% endif %}1",
            "FILE:2: there is no «request»; there are branch, commit, commits,",
        ),
        (
            '{"a":\n\n{{ commit.mesage | tojson }}}',
            (
                "FILE:3: fails for a push of which the forge told all: 'dict object' has no"
                " attribute 'mesage'; mend the name, or write a | default('') behind it"
            ),
        ),
        (
            '{% if event.change == "deleted" %}\n{{ event.who }}{% endif %}1',
            "FILE:2: fails for a deleted branch: 'dict object' has no attribute 'who'",
        ),
        ("{}\n{% for %}", "FILE:2: is no Jinja template: "),
        *(
            (f"{{}}\n{{% {tag} %}}", "FILE:2: cannot extend, include or import another file; write")
            for tag in ("extends 'a'", "include 'a'", "import 'a' as b", "from 'a' import b")
        ),
        ("{{ 1 | random }}", "FILE:1: is no Jinja template: No filter named 'random'."),
        (
            '{"a": "{{ commit.message }}"}',
            (
                "FILE: fails for a push of which the forge told all: what it writes is no JSON"
                " (Expecting ',' delimiter: line 1 column 13 (char 12)); write each value as"
                " {{ value | tojson }}, or say what it is by a Content-Type among the receiver's"
                " headers"
            ),
        ),
        ("{{ 'NaN' }}", "FILE: fails for a push of which the forge told all: what it writes is"),
        (
            "\n{{ {'a': commit.wrong} | tojson }}",
            "FILE:2: fails for a push of which the forge told all: 'dict object' has no attribute",
        ),
    ],
)
def test_a_mistake_is_told_by_its_file_and_line(text: str, told: str) -> None:
    assert mistake(text).startswith(told)


@pytest.mark.parametrize(
    "text",
    [
        "{{ event.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ labels.update({'a': 'b'}) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro m() %}{% for a in range(99999) %}{% endfor %}{% endmacro %}{{ m() }}{{ m() }}",
        "{% for n in range(9999) %}{{ 'x' * 1000 }}{% endfor %}",
        "{{ 'x' * 100000000 }}",
        "{{ [0] * 100000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
    ],
)
def test_what_leads_out_or_does_not_end_is_refused(text: str) -> None:
    assert "fails for" in mistake(text)


def test_every_wrong_template_is_told_at_once() -> None:
    receivers = {
        name: Receiver(name, "https://x.io/", payload="template", template="{{ x }}")
        for name in ("one", "other")
    }

    with pytest.raises(ConfigurationInvalid) as caught:
        Payloads(receivers)

    assert [each.path for each in caught.value.mistakes] == [
        "receivers.one.template",
        "receivers.other.template",
    ]


def test_what_no_sample_showed_is_a_payload_that_cannot_be_rendered() -> None:
    made = payloads("{% if event.sequence > 1 %}{{ 1 // 0 }}{% endif %}1")
    later = replace(BARE, event=replace(BARE.event, sequence=2))

    with pytest.raises(PayloadUnrenderable, match="division"):
        made.render(later)


def test_a_delivery_whose_receiver_has_no_template_any_more_says_so() -> None:
    with pytest.raises(PayloadUnrenderable, match="«sample» has no template any more"):
        Payloads({}).render(BARE)
