"""Long lists may be spread over several files, and each mistake is told of its own file."""

from pathlib import Path

import pytest

from app.domain.errors import ConfigurationInvalid
from app.settings import load
from tests.unit.settings.conftest import Write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repositories.d"
    folder.mkdir()
    return folder


def test_included_files_add_repositories_receivers_and_forges(write: Write, folder: Path) -> None:
    file = write(
        "include: [repositories.d/*.yaml]\n"
        "receivers: {ci: {url: 'https://ci.example.com/'}}\n"
        "repositories: [{url: 'https://x.io/a'}]\n"
    )
    (folder / "b.yaml").write_text(
        "repositories: [{url: ./c}]\nforges: {gitea: {url: 'https://g.io'}}"
    )
    (folder / "a.yaml").write_text("repositories: [{url: 'https://x.io/b'}]\nreceivers:\n")
    (folder / ".hidden.yaml").write_text("nonsense: 1")
    (folder / "empty.yaml").write_text("")

    settings = load(file, {})

    assert [r.url for r in settings.repositories] == [
        "https://x.io/a",
        "https://x.io/b",
        str(folder / "c"),
    ]
    assert "gitea" in settings.forges
    assert settings.files == (
        file,
        folder / "a.yaml",
        folder / "b.yaml",
        folder / "empty.yaml",
    )


def test_a_secret_file_starts_at_the_folder_of_the_file_that_names_it(
    write: Write, folder: Path
) -> None:
    file = write("include: ['${PLACE}/ci.yaml']\n")
    (folder / "ci.yaml").write_text("receivers: {ci: {url: 'https://x.io/', secret_file: key}}")
    (folder / "key").write_text("s3cret\n")

    settings = load(file, {"PLACE": "repositories.d"})

    secret = settings.receivers["ci"].secret
    assert secret is not None
    assert secret.reveal() == "s3cret"


def test_mistakes_are_told_of_the_file_they_are_in(write: Write, folder: Path) -> None:
    file = write(
        "include: [repositories.d/*.yaml, more.yaml]\n"
        "receivers: {ci: {url: 'https://ci.example.com/'}}\n"
        "repositories:\n"
        "  - url: https://x.io/a\n"
    )
    one, two = folder / "1.yaml", folder / "2.yaml"
    one.write_text("receivers:\n  ci: {url: 'https://x.io/'}\nrepositories: {}\n")
    two.write_text("polling: {workers: 1}\nrepositories:\n  - url: https://x.io/a\n  - nam: b\n")

    with pytest.raises(ConfigurationInvalid) as caught:
        load(file, {})

    only = "cannot stand in an included file, only forges, receivers, repositories can"
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        f"{file}:1:34: include: more.yaml: there is no such file",
        f"{one}:2:3: receivers.ci: ci is here twice; the first is at {file}:2",
        f"{one}:3:1: repositories: must be a list, as in the others",
        f"{two}:1:1: polling: {only}",
        f"{two}:3:10: repositories[1].url: https://x.io/a is watched already ({file}:4)",
        f"{two}:4:5: repositories[2].url: is missing",
        f"{two}:4:5: repositories[2].nam: there is no such setting; did you mean name?",
    ]


def test_an_included_file_that_is_no_yaml_does_not_hide_the_others(
    write: Write, folder: Path
) -> None:
    file = write("include: [repositories.d/*]\npolling: {workers: 0}\n")
    (folder / "a.yaml").write_text("repositories: [\n")

    with pytest.raises(ConfigurationInvalid) as caught:
        load(file, {})

    assert [(m.line, m.path) for m in caught.value.mistakes] == [(2, "polling.workers"), (1, "")]


def test_a_file_that_matches_its_own_include_is_read_once(write: Write) -> None:
    file = write("include: ['*.yaml']\nrepositories: [{url: 'https://x.io/a'}]\n")

    assert load(file, {}).files == (file,)
