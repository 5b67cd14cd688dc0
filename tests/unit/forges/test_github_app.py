"""A GitHub App's installation is signed in for by a token that is renewed before it ends."""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from app.domain.errors import (
    ForgeAnswerInvalid,
    ForgeBusy,
    ForgeSignInRefused,
    ForgeUnavailable,
)
from app.domain.repository import Repository
from app.domain.secret import Secret
from app.forges import github_app
from app.forges.credentials import Accounts, sources_of
from app.forges.github_app import Installation
from app.forges.rest import Api
from app.settings.types import Forge, ForgeApp
from app.transport import Reply, Transport

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
API = "https://api.github.com"
SITE = Repository("acme/site", "https://github.com/acme/site", forge="github")


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def pem(key: rsa.RSAPrivateKey) -> str:
    form = PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@dataclass
class GitHub(Transport):
    """Answers as GitHub does to who asks for an installation's token, and then with it."""

    public_pem: bytes
    now: datetime = NOON
    ahead: timedelta = timedelta(0)  # of the App's clock
    answers: list[Reply] = field(default_factory=list)  # said instead of what is right
    asked: list[str] = field(default_factory=list)
    claims: list[dict[str, Any]] = field(default_factory=list)
    good: set[str] = field(default_factory=set)

    def send(self, method: str, url: str, **options: Any) -> Reply:
        self.asked.append(f"{method} {url.removeprefix(API)}")
        headers = options["headers"]
        if self.answers:
            return self.answers.pop(0)
        bearer = headers["Authorization"].removeprefix("Bearer ")
        if "/app/" not in url:
            is_good = bearer in self.good
            return self.say(200 if is_good else 401, [] if is_good else {"message": "Bad"})
        try:
            claims = jwt.decode(
                bearer, self.public_pem, algorithms=["RS256"], options={"verify_exp": False}
            )
        except jwt.ImmatureSignatureError:
            return self.say(401, {"message": "'Issued at' claim ('iat') must be in the past"})
        except jwt.PyJWTError:
            return self.say(401, {"message": "A JSON web token could not be decoded"})
        self.claims.append(claims)
        here = self.now.timestamp()
        if not claims["iat"] <= here < claims["exp"] <= here + 600:
            return self.say(401, {"message": "'Expiration time' claim ('exp') is too far"})
        token = f"ghs_{claims['iss']}_{'long.' * 100}{len(self.asked)}"
        self.good = {token}
        ends = (self.now + HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.say(201, {"token": token, "expires_at": ends})

    def say(self, status: int, body: Any) -> Reply:
        date = {"Date": format_datetime(self.now, usegmt=True)}
        return Reply(status, date, json.dumps(body).encode())

    def close(self) -> None:
        pass


@pytest.fixture
def github(key: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch) -> GitHub:
    made = GitHub(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    # The library reads the clock to judge what was signed; GitHub's is a fake here.
    judge = jwt.api_jwt.PyJWT._validate_iat  # noqa: SLF001
    monkeypatch.setattr(
        jwt.api_jwt.PyJWT,
        "_validate_iat",
        lambda self, payload, _now, leeway: judge(self, payload, made.now.timestamp(), leeway),
    )
    return made


@pytest.fixture
def installation(github: GitHub, key: rsa.RSAPrivateKey) -> Installation:
    app = ForgeApp(12, 34, Secret(pem(key)))
    return Installation(app, api_url=API, transport=github, now=lambda: github.now + github.ahead)


def fetch(installation: Installation) -> str:
    return installation.secret(timeout_s=5).reveal()


def test_the_app_signs_for_itself_and_gets_a_token(
    github: GitHub, installation: Installation
) -> None:
    token = fetch(installation)

    assert token in github.good
    assert github.asked == ["POST /app/installations/34/access_tokens"]
    (claims,) = github.claims
    assert claims["iss"] == "12"
    assert claims["iat"] == int(NOON.timestamp()) - 60


def test_a_token_is_kept_for_most_of_its_hour_and_renewed_before_it_ends(
    github: GitHub, installation: Installation
) -> None:
    first = fetch(installation)
    github.now = NOON + timedelta(minutes=49)
    second = fetch(installation)
    github.now = NOON + timedelta(minutes=51)
    third = fetch(installation)

    assert first == second != third
    assert len(github.asked) == 2


def test_a_token_that_cannot_be_renewed_yet_is_used_to_its_end(
    github: GitHub, installation: Installation
) -> None:
    first = fetch(installation)
    github.now = NOON + timedelta(minutes=55)
    github.answers = [Reply(502, {}, b""), Reply(502, {}, b"")]

    assert [fetch(installation) for _ in range(3)] == [first] * 3
    assert len(github.asked) == 2
    github.now = NOON + HOUR
    with pytest.raises(ForgeUnavailable):
        fetch(installation)
    github.now += github_app.TOLD_FOR
    assert fetch(installation) != first


def test_where_there_is_no_token_nobody_waits_for_another_to_find_the_same(
    github: GitHub, installation: Installation
) -> None:
    github.answers = [Reply(502, {}, b"")]

    for _ in range(3):
        with pytest.raises(ForgeUnavailable):
            fetch(installation)

    assert len(github.asked) == 1
    github.now += github_app.TOLD_FOR
    assert fetch(installation) in github.good


def test_one_thread_at_a_time_fetches_the_token(github: GitHub, installation: Installation) -> None:
    asked, may_answer = threading.Event(), threading.Event()
    send = github.send

    def slowly(method: str, url: str, **options: Any) -> Reply:
        asked.set()
        assert may_answer.wait(10)
        return send(method, url, **options)

    github.send = slowly  # type: ignore[method-assign] # answers later
    other = threading.Thread(target=lambda: fetch(installation))
    other.start()
    assert asked.wait(10)
    with pytest.raises(ForgeBusy) as caught:
        fetch(installation)
    may_answer.set()
    other.join()

    assert caught.value.at == NOON + timedelta(seconds=1)
    assert fetch(installation) in github.good
    assert len(github.asked) == 1


@pytest.mark.parametrize("ahead", [timedelta(minutes=20), timedelta(hours=-3)])
def test_a_clock_that_is_wrong_is_set_right_by_githubs_own(
    github: GitHub, installation: Installation, ahead: timedelta
) -> None:
    github.ahead = ahead

    token = fetch(installation)
    github.now += timedelta(minutes=49)

    assert fetch(installation) == token
    assert len(github.asked) == 2


@pytest.mark.parametrize(
    ("status", "said", "words"),
    [
        (401, "A JSON web token could not be decoded", "the key is one of its private keys"),
        (403, "This installation has been suspended", "has been suspended"),
        (404, "Not Found", r"check app\.installation"),
    ],
)
def test_a_refusal_says_what_to_look_at(
    github: GitHub, installation: Installation, status: int, said: str, words: str
) -> None:
    github.answers = [github.say(status, {"message": said})]

    with pytest.raises(ForgeSignInRefused, match=words):
        fetch(installation)


@pytest.mark.parametrize("body", ["[]", "{}", '{"token": 5, "expires_at": "x"}', "<html>"])
def test_an_answer_without_a_token_is_an_odd_one(
    github: GitHub, installation: Installation, body: str
) -> None:
    github.answers = [Reply(201, {}, body.encode())]

    with pytest.raises(ForgeAnswerInvalid):
        fetch(installation)


def test_nothing_that_goes_wrong_shows_the_key(github: GitHub, key: rsa.RSAPrivateKey) -> None:
    app = ForgeApp(12, 34, Secret(pem(key)[:-200]))
    installation = Installation(app, api_url=API, transport=github, now=lambda: NOON)

    with pytest.raises(ForgeSignInRefused, match="no RSA private key") as caught:
        fetch(installation)

    assert "BEGIN" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert repr(app).count("••••••") == 1


class Client:
    """Asks one thing of the API, signed in as the App."""

    def __init__(self, forge: Forge, github: GitHub) -> None:
        def now() -> datetime:
            return github.now

        self.accounts = Accounts(forge, sources_of(forge, transport=github, now=now), now=now)
        self._api = Api(
            github,
            forge,
            headers={},
            authorize=lambda token: {"Authorization": f"Bearer {token.reveal()}"},
            now=now,
            accounts=self.accounts,
        )

    def ask(self) -> int:
        return self._api.call(SITE, 5).get(f"{API}/repos/acme/site/branches").status


@pytest.fixture
def forge(key: rsa.RSAPrivateKey) -> Forge:
    return Forge(
        "github", "github", "https://github.com", API, app=ForgeApp(12, 34, Secret(pem(key)))
    )


def test_a_token_that_ends_early_is_replaced_once(github: GitHub, forge: Forge) -> None:
    client = Client(forge, github)
    client.ask()
    github.good = set()
    github.now += timedelta(minutes=5)
    github.asked.clear()

    assert client.ask() == 200
    assert [line.partition(" ")[0] for line in github.asked] == ["GET", "POST", "GET"]


def test_an_app_that_is_refused_is_tried_again_in_a_quarter_of_an_hour(
    github: GitHub, forge: Forge
) -> None:
    client = Client(forge, github)
    github.answers = [github.say(404, {"message": "Not Found"})]

    for _ in range(3):
        with pytest.raises(ForgeSignInRefused, match=r"check app\.installation"):
            client.ask()

    assert len(github.asked) == 1
    (credential,) = client.accounts.credentials()
    assert (credential.name, credential.state) == ("app 12", "refused")
    github.now = NOON + timedelta(minutes=15)
    assert client.ask() == 200
