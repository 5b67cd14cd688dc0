"""What is written about the project holds for the project."""

import ast
import configparser
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

import app
from app.domain import errors

ROOT = Path(__file__).parents[2]
VERSION_HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - \d{4}-\d{2}-\d{2}$", re.MULTILINE)


@cache
def tracked_files() -> tuple[Path, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],  # noqa: S607 - whichever git the tests use
        cwd=ROOT,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    files = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(file for file in files if file.is_file())


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text_of("setup.cfg"))
    return parser


def requirement_names(requirements: str) -> set[str]:
    """List the projects that requirement lines name, as package indexes compare names."""
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    names = (re.split(r"[^\w.-]", line)[0] for line in lines if line)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


# ---- layers -------------------------------------------------------------------------------------


def layers_of_contract() -> list[set[str]]:
    contract = setup_cfg()["importlinter:contract:layers"]["layers"]
    return [set(re.split(r"\s*\|\s*", line)) for line in contract.split("\n") if line]


def test_every_module_of_the_program_stands_in_a_layer_and_every_layer_exists() -> None:
    named = set.union(*layers_of_contract())
    packages = {path.parent.name for path in (ROOT / "app").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "app").glob("*.py")} - {"__init__", "__main__"}

    assert packages | modules == named


WALK = [
    "config",
    "repository",
    "scheduler",
    "branch monitor",
    "git client",
    "snapshot diff",
    "event",
    "outbox",
    "delivery",
    "status",
]


def test_the_map_of_the_program_walks_through_packages_that_exist() -> None:
    drawn = (app.__doc__ or "").partition("::")[2]
    steps = re.findall(rf"^ +({'|'.join(WALK)}) +([a-z]+(?:, [a-z]+)*)\b", drawn, re.MULTILINE)

    assert [word for word, _ in steps] == WALK
    places = {place for _, places in steps for place in places.split(", ")}
    assert places <= set.union(*layers_of_contract())


# ---- errors -------------------------------------------------------------------------------------


def drawn_tree(drawing: str) -> dict[str, str]:
    """Read a drawing of a tree: each name's parent by its depth."""
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in drawing.splitlines():
        drawn = re.fullmatch(r" {4}((?:[│ ] {3})*(?:[├└]── )?)([A-Z]\w+)", line)
        if drawn is None:
            continue
        depth, name = len(drawn[1]) // 4, drawn[2]
        above[depth:] = [name]
        if depth:
            parents[name] = above[depth - 1]
    return parents


def test_the_tree_of_errors_is_drawn_as_it_grows() -> None:
    classes = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, errors.RepoSentryError)
    ]
    parents = {each.__name__: each.__base__.__name__ for each in classes if each.__base__}
    del parents["RepoSentryError"]

    assert drawn_tree(errors.__doc__ or "") == parents


def test_every_error_has_a_code_of_its_own() -> None:
    classes = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, errors.RepoSentryError)
    ]

    codes = [each.code for each in classes]

    assert len(set(codes)) == len(codes)


# ---- words --------------------------------------------------------------------------------------


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path.suffix == ".py"
        and (source := path.read_text(encoding="utf-8"))
        and ast.get_docstring(ast.parse(source)) is None
    ]

    assert silent == []


def test_no_module_of_the_program_is_empty() -> None:
    empty = [
        path.relative_to(ROOT).as_posix()
        for path in tracked_files()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "app") and not path.stat().st_size
    ]

    assert empty == []


def test_the_changelog_begins_with_the_version_of_the_program() -> None:
    versions = VERSION_HEADING.findall(text_of("CHANGELOG.md"))

    assert versions[0] == app.__version__
    assert sorted(versions, key=lambda v: [int(n) for n in v.split(".")], reverse=True) == versions


# ---- dependencies -------------------------------------------------------------------------------


def test_every_dependency_has_the_exact_version_it_was_tested_with() -> None:
    parser = setup_cfg()
    wanted = requirement_names(parser["options"]["install_requires"])
    for extra in parser["options.extras_require"].values():
        wanted |= requirement_names(extra)
    wanted.discard("reposentry")

    assert wanted - requirement_names(text_of("config/constraints.txt")) == set()


def test_every_constraint_is_one_exact_version() -> None:
    lines = text_of("config/constraints.txt").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]

    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.]+", pin)] == []


# ---- the project stands alone -------------------------------------------------------------------

# Written in two halves, so that this file does not mention them either.
MACHINE_PATHS = [
    first + second
    for first, second in [
        ("/wo", "rk/"),
        ("../sha", "red"),
        ("/ro", "ot/"),
        ("/home/", "runner"),
        ("DESIGN", ".md"),
        ("STYLE", ".md"),
    ]
]


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_no_file_mentions_a_place_that_others_do_not_have(path: str) -> None:
    mentioning = [
        file.relative_to(ROOT).as_posix()
        for file in tracked_files()
        if path.encode() in file.read_bytes()
    ]

    assert mentioning == []
