"""What ``reposentry deliver`` refuses before it touches anything, and which moments it reads."""

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner

from app.cli import commands
from app.cli.deliver import Moment
from app.runtime import utc_now


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "Say which: an ID, or at least one of --state, --confirmation, --receiver"),
        (["--to", "tekton"], "Say which: an ID, or at least one of"),
        (["--cancel", "--yes"], "Say which: an ID, or at least one of"),
        (["some-id", "--receiver", "tekton"], "An ID says which one it is; leave the filters out."),
        (["some-id", "--cancel", "--to", "tekton"], "What is cancelled goes to nobody"),
        (["--confirmation", "awaited", "--cancel"], "it cannot be cancelled"),
        (["--state", "pending"], "What is pending is still owed; it can only be ended"),
        (["--state", "dead", "--cancel"], "What is dead is finished."),
        (["--since", "yesterday"], "«yesterday» is neither a moment like"),
        (["--state", "bogus"], "Invalid value for '--state'"),
    ],
)
def test_what_means_nothing_is_refused_before_anything_is_read(words: list[str], says: str) -> None:
    refused = CliRunner().invoke(commands, ["deliver", *words, "--config", "/no/such/file"])

    assert refused.exit_code == 2
    assert says in " ".join(refused.output.split())


def test_a_moment_is_read_in_its_zone_and_an_age_counts_from_now() -> None:
    def read(text: str) -> datetime:
        return Moment().convert(text, None, None)

    noon = datetime(2026, 11, 5, 12, tzinfo=UTC)
    before = utc_now()

    assert read("2026-11-05T12:00Z") == read("2026-11-05T14:00+02:00") == noon
    assert read("2026-11-05T12:00").astimezone().replace(tzinfo=None) == datetime(2026, 11, 5, 12)  # noqa: DTZ001 - as a person writes it
    assert before - timedelta(hours=2) <= read("2h") <= utc_now() - timedelta(hours=2)
    for text in ("", "2", "-2h", "0001-01-01", "9999-12-31T23:59-12:00", "999999999d"):
        with pytest.raises(click.BadParameter):
            read(text)
