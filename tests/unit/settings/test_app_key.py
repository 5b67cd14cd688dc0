"""The key of a GitHub App is read, so that a broken one is found before anything starts."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from tests.unit.settings.conftest import Load, Wrong

APP = "forges: {github: {app: {id: 1, installation: 2, key: '${KEY}'}}}"


def pem(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    lock: KeySerializationEncryption | None = None,
) -> str:
    form = PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, lock or NoEncryption()).decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize("spell", [str, lambda text: text.replace("\n", "\\n"), str.strip])
def test_a_key_may_come_from_a_variable(
    loaded: Load, key: rsa.RSAPrivateKey, spell: type[str]
) -> None:
    app = loaded(APP, {"KEY": spell(pem(key))}).forges["github"].app

    assert app is not None
    assert (app.id, app.installation, app.key.reveal()) == (1, 2, pem(key))


def test_a_key_may_come_from_a_file(loaded: Load, key: rsa.RSAPrivateKey, tmp_path: Path) -> None:
    file = tmp_path / "app.pem"
    file.write_text(pem(key))

    settings = loaded(f"forges: {{github: {{app: {{id: 1, installation: 2, key_file: {file}}}}}}}")

    assert settings.forges["github"].signs_in
    assert settings.warnings == ()


def test_a_broken_key_is_a_mistake_that_does_not_show_it(
    mistakes: Wrong, key: rsa.RSAPrivateKey
) -> None:
    text = pem(key)

    (mistake,) = mistakes(APP, {"KEY": text[:300] + text[400:]})

    assert mistake.path == "forges.github.app.key"
    assert "no private key as PEM" in mistake.message
    assert text[100:150] not in str(mistake)


def test_a_key_of_another_sort_or_behind_a_password_is_a_mistake(
    mistakes: Wrong, key: rsa.RSAPrivateKey
) -> None:
    locked = pem(key, BestAvailableEncryption(b"secret"))
    elliptic = pem(ec.generate_private_key(ec.SECP256R1()))

    said = [mistakes(APP, {"KEY": text})[0].message for text in (locked, elliptic)]

    assert "locked by a password" in said[0]
    assert "another sort than RSA" in said[1]


def test_an_app_is_githubs_alone(mistakes: Wrong, key: rsa.RSAPrivateKey) -> None:
    (mistake,) = mistakes(APP.replace("github:", "gitlab:"), {"KEY": pem(key)})

    assert mistake.path == "forges.gitlab.app"
    assert "GitHub's alone" in mistake.message
