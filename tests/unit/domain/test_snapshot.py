"""Two moments are told apart exactly."""

from hypothesis import given, strategies as st

from app.domain.snapshot import diff, digest

NAMES = st.text(alphabet="abc/", min_size=1, max_size=4)
REFS = st.dictionaries(NAMES, st.sampled_from(["1" * 40, "2" * 40, "3" * 64]), max_size=6)


@given(REFS, REFS)
def test_the_changes_lead_from_one_moment_to_the_other(
    before: dict[str, str], after: dict[str, str]
) -> None:
    moved = dict(before)
    for change in diff(before, after):
        assert moved.get(change.ref) == change.before
        if change.after is None:
            del moved[change.ref]
        else:
            moved[change.ref] = change.after

    assert moved == after


@given(REFS, REFS)
def test_digests_are_equal_exactly_when_the_refs_are(
    one: dict[str, str], other: dict[str, str]
) -> None:
    assert (digest(one) == digest(other)) == (one == other)


@given(REFS)
def test_nothing_changed_is_no_change(refs: dict[str, str]) -> None:
    assert diff(refs, refs) == []


def test_names_and_ids_cannot_be_mixed_up_in_a_digest() -> None:
    assert digest({"a": "b"}) != digest({"ab": ""})
