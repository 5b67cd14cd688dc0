"""The manifests for Tekton fit the payloads: every push makes a run, whatever its branch is called.

Tekton answers 202 to everything, so a path that is missing or a label that is too long would be
noticed by nobody.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, strategies as st

from app.delivery.payloads import PAYLOADS
from app.domain import confirmation
from app.domain.delivery import Parcel
from app.domain.snapshot import Change
from app.settings import load
from tests.contract import tekton
from tests.contract.parcels import CASES, NEW, a_parcel, spelled_as
from tests.contract.tekton import MANIFESTS, NothingCreated, Request

# The manifests' folders, and the payload that each is for.
FOLDERS = {"github": "github", "gitlab": "gitlab", "cloudevents": "cloudevents-binary"}
DELETIONS = [case for case, parcel in CASES.items() if parcel.event.kind.change == "deleted"]

every_folder = pytest.mark.parametrize("folder", FOLDERS)

LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def sent(folder: str, parcel: Parcel) -> Request:
    """Make the request that this folder's EventListener gets for a delivery."""
    rendered = PAYLOADS[FOLDERS[folder]](spelled_as(FOLDERS[folder], parcel))
    return Request(rendered.headers, json.loads(rendered.body))


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        yield from strings([*node, *node.values()])
    elif isinstance(node, list):
        for inner in node:
            yield from strings(inner)


def written(pattern: str, node: Any) -> set[str]:
    return {name for text in strings(node) for name in re.findall(pattern, text)}


# ---- the objects --------------------------------------------------------------------------------


def test_every_manifest_is_listed_or_is_an_example() -> None:
    listed = {
        (kustomization.parent / entry).resolve()
        for kustomization in MANIFESTS.glob("*/kustomization.yaml")
        for entry in tekton.documents(kustomization)[0]["resources"]
    }

    unlisted = {
        path.relative_to(MANIFESTS).as_posix()
        for path in MANIFESTS.rglob("*.yaml")
        if path.name != "kustomization.yaml" and path.resolve() not in listed
    }

    assert unlisted == {"reposentry.example.yaml", "secret.example.yaml"}


@every_folder
def test_each_object_has_the_version_that_clusters_of_today_serve(folder: str) -> None:
    served = {
        "ServiceAccount": "v1",
        "RoleBinding": "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
        "Pipeline": "tekton.dev/v1",
        "EventListener": "triggers.tekton.dev/v1beta1",
        "TriggerBinding": "triggers.tekton.dev/v1beta1",
        "TriggerTemplate": "triggers.tekton.dev/v1beta1",
    }

    assert {each["kind"]: each["apiVersion"] for each in tekton.objects(folder)} == served


def test_no_object_of_one_payload_takes_the_name_of_another_payloads() -> None:
    named: dict[tuple[str, str], Any] = {}
    for folder in FOLDERS:
        for each in tekton.objects(folder):
            key = (each["kind"], each["metadata"]["name"])
            assert named.setdefault(key, each) == each


@every_folder
def test_what_a_trigger_refers_to_is_named_with_its_kind(folder: str) -> None:
    # Without the kind it works only where the admission webhook fills it in.
    trigger = tekton.trigger(folder)
    interceptors = [interceptor["ref"] for interceptor in trigger["interceptors"]]

    assert {ref["name"] for ref in interceptors} <= {"github", "gitlab", "cel"}
    assert {ref["kind"] for ref in interceptors} == {"ClusterInterceptor"}
    assert {ref["kind"] for ref in trigger["bindings"]} == {"TriggerBinding"}


@every_folder
def test_nothing_is_created_before_the_secret_was_checked(folder: str) -> None:
    first, *others = tekton.trigger(folder)["interceptors"]

    assert "secretRef" in {parameter["name"] for parameter in first["params"]}
    assert [other["ref"]["name"] for other in others] == ["cel"]


@every_folder
def test_each_listener_asks_for_the_secret_of_the_example(folder: str) -> None:
    (secret,) = tekton.documents(MANIFESTS / "secret.example.yaml")
    (reference,) = (
        parameter["value"]
        for interceptor in tekton.trigger(folder)["interceptors"]
        for parameter in interceptor["params"]
        if parameter["name"] == "secretRef"
    )

    assert reference["secretName"] == secret["metadata"]["name"]
    assert [reference["secretKey"]] == list(secret["stringData"])


@every_folder
def test_what_a_template_takes_is_bound_and_used(folder: str) -> None:
    trigger = tekton.trigger(folder)
    template = tekton.named(folder, "TriggerTemplate", trigger["template"]["ref"])["spec"]
    bound = [
        parameter["name"]
        for binding in trigger["bindings"]
        for parameter in tekton.named(folder, "TriggerBinding", binding["ref"])["spec"]["params"]
    ]

    declared = [parameter["name"] for parameter in template["params"]]

    assert bound == declared
    assert written(r"\$\(tt\.params\.([^)]+)\)", template["resourcetemplates"]) == set(declared)


@every_folder
def test_the_run_gives_the_pipeline_what_it_asks_for(folder: str) -> None:
    (run,) = tekton.named(folder, "TriggerTemplate", "reposentry")["spec"]["resourcetemplates"]
    pipeline = tekton.named(folder, "Pipeline", run["spec"]["pipelineRef"]["name"])["spec"]

    given = {parameter["name"] for parameter in run["spec"]["params"]}
    wanted = {parameter["name"] for parameter in pipeline["params"]}

    assert given == wanted
    assert written(r"\$\(params\.([^)]+)\)", pipeline["tasks"]) == wanted


def test_no_script_has_a_parameter_pasted_into_it() -> None:
    # A branch may be called $(reboot), and whoever may push may call it so.
    scripts = [
        step["script"]
        for path in MANIFESTS.rglob("*.yaml")
        for each in tekton.documents(path)
        if each["kind"] == "Pipeline"
        for task in each["spec"]["tasks"]
        for step in task["taskSpec"]["steps"]
    ]

    assert scripts
    assert not any("$(params" in script for script in scripts)


def test_the_example_configuration_is_one_and_speaks_to_the_listener(tmp_path: Path) -> None:
    (example_map,) = tekton.documents(MANIFESTS / "reposentry.example.yaml")
    file = tmp_path / "reposentry.yaml"
    file.write_text(example_map["data"]["reposentry.yaml"], "utf-8")

    receiver = load(file, {"WEBHOOK_SECRET": "s3cret"}).receivers["tekton"]

    listener = tekton.named("github", "EventListener", "reposentry")["metadata"]["name"]
    namespace = tekton.documents(MANIFESTS / "github" / "kustomization.yaml")[0]["namespace"]
    assert receiver.url == f"http://el-{listener}.{namespace}.svc:8080"
    assert receiver.changes == ("created", "updated")


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
@pytest.mark.parametrize("folder", [*FOLDERS, "confirmed"])
def test_kustomize_builds_it_for_any_namespace(folder: str, tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "tekton")
    chosen = tmp_path / "tekton" / "chosen"
    chosen.mkdir()
    listing = {"namespace": "elsewhere", "resources": [f"../{folder}"]}
    (chosen / "kustomization.yaml").write_text(yaml.safe_dump(listing), "utf-8")

    built = subprocess.run(  # noqa: S603 - our own folder
        ["kubectl", "kustomize", str(chosen)],  # noqa: S607 - whichever is there
        check=True,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
    )

    found = {each["kind"]: each for each in yaml.safe_load_all(built.stdout)}
    assert written("(ci)", [each["metadata"].get("namespace") for each in found.values()]) == set()
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        (subject,) = found[kind]["subjects"]
        assert subject["namespace"] == "elsewhere"
    address = found["EventListener"]["spec"].get("cloudEventURI", "")
    assert (f"{confirmation.PATH}/tekton/" in address) is (folder == "confirmed")


# ---- what they make of a delivery ---------------------------------------------------------------


@every_folder
@pytest.mark.parametrize("case", [case for case in CASES if case not in DELETIONS])
def test_every_change_but_a_deletion_creates_a_run(folder: str, case: str) -> None:
    parcel = CASES[case]

    run = tekton.create(folder, sent(folder, parcel))

    given = {parameter["name"]: parameter["value"] for parameter in run["spec"]["params"]}
    assert run["kind"] == "PipelineRun"
    assert run["metadata"]["name"] == f"rs-{parcel.delivery_id}"
    assert run["metadata"]["labels"]["reposentry.io/event"] == parcel.event.id
    # An annotated tag is an object of its own; where the forge told, its commit is built.
    head = parcel.details.head if parcel.details else None
    assert given["commit"] == (head.id if head else parcel.event.after)
    assert given["ref"] == parcel.event.ref
    assert given["branch"] == parcel.event.name
    assert given["repository-url"]
    assert_valid(run)


@every_folder
@pytest.mark.parametrize("case", DELETIONS)
def test_a_deletion_creates_none(folder: str, case: str) -> None:
    with pytest.raises(NothingCreated, match="filtered out"):
        tekton.create(folder, sent(folder, CASES[case]))


@every_folder
def test_a_repeat_has_the_name_of_the_first_and_so_creates_none(folder: str) -> None:
    request = sent(folder, CASES["branch-updated"])

    first, repeat = tekton.create(folder, request), tekton.create(folder, request)

    assert "generateName" not in first["metadata"]
    assert first["metadata"]["name"] == repeat["metadata"]["name"]


# All that git allows in a name, and more: only control characters and space are left out.
letters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" $")


@every_folder
@example(name="feature/x")
@example(name="user@host#7")
@example(name="123")
@example(name="Ends-")
@example(name='it"s;`rm`')
@example(name="x" * 250)
@given(name=st.text(letters, min_size=1, max_size=250))
def test_every_name_of_a_branch_makes_a_run_that_tekton_accepts(folder: str, name: str) -> None:
    parcel = a_parcel(Change(f"refs/heads/{name}", None, NEW))

    run = tekton.create(folder, sent(folder, parcel))

    given = {parameter["name"]: parameter["value"] for parameter in run["spec"]["params"]}
    assert given["branch"] == name
    assert run["metadata"]["annotations"]["reposentry.io/ref"] == f"refs/heads/{name}"
    assert_valid(run)


def assert_valid(run: dict[str, Any]) -> None:
    """Hold an object to the rules that make Kubernetes refuse it without a word to us."""
    metadata = run["metadata"]
    assert NAME.fullmatch(metadata["name"])
    for key, value in metadata["labels"].items():
        assert LABEL_KEY.fullmatch(key)
        assert LABEL.fullmatch(value)
    for key, value in metadata["annotations"].items():
        assert LABEL_KEY.fullmatch(key)
        assert isinstance(value, str)
    assert written(r"(\$\((?:tt|body|header)[^)]*\))", run) == set()
