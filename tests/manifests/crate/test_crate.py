"""Descriptions of a run: by the validator of RO-Crates offline, the same bytes, no false names."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Set

import pytest
import rocrate

from container.cache import Cache
from container.digest import sha256_of_file
from container.progress import Silent
from container.recipe import load_recipe
from manifests.crate.croissant import LIST_FIELDS, TABLE_FIELDS
from manifests.crate.descriptions import descriptions
from manifests.crate.facts import FileFacts, RerunFacts, RunFacts
from manifests.crate.names import DESCRIPTIONS
from manifests.crate.ro_crate import ro_crate_text
from manifests.flows.attest import plan_statements
from manifests.flows.describe import describe_run, run_facts
from manifests.host.context import read_host_context
from manifests.record.run_files import RunFiles
from manifests.record.schema import Author
from manifests.rundir.statement import RERUN_VERDICT, descriptor, statement, statement_text
from manifests.verdict.comparison import Comparison
from tests.integration.golden import VERSIONS, unpack

PROJECT = Path(__file__).resolve().parents[3]
VALIDATORS = PROJECT / ".tools" / "validators" / "bin" / "python"
CONTEXT = Path(rocrate.__file__).parent / "data" / "ro-crate.jsonld"

#: What nobody can say of a run: URLs of its software, a registry and a publisher, the account of
#: a rerun that only a statement tells of.
UNKNOWN = {
    "process-run-crate-0.5_3.2",
    "process-run-crate-0.5_5.1",
    "process-run-crate-0.5_8.6",
    "process-run-crate-0.5_13.2",
    "ro-crate-1.1_22.3",
    "ro-crate-1.1_31.2",
}
AUTHORS = [Author(name="Ada", orcid="0000-0002-1825-0097", affiliation="Far University")]
RERUNS = [
    RerunFacts("digits-b", "diverged", "2026-02-03", ["node7"], "Some CPU", "steps 1..2 of 9"),
    RerunFacts("digits-a", "identical", "2026-02-02T01:02:03Z", account="bob"),
]


@pytest.fixture
def run(finished_run: RunFiles) -> RunFiles:
    """A whole run with the recipe of the stack cpu."""
    recipe = load_recipe(PROJECT, "cpu")
    values = json.loads(finished_run.manifest.read_text())
    values["recipe"]["files"] = recipe.files
    finished_run.manifest.write_text(json.dumps(values))
    return finished_run


def graph_of(text: bytes) -> Dict[str, Any]:
    return {entity["@id"]: entity for entity in json.loads(text)["@graph"]}


def with_all(facts: RunFacts) -> RunFacts:
    """With authors, a licence, the image in a file, and reruns."""
    named = {"authors": AUTHORS, "license": "CC-BY-4.0"}
    circumstance = facts.manifest.circumstance.model_copy(update=named)
    manifest = facts.manifest.model_copy(update={"circumstance": circumstance})
    files = [*facts.files, FileFacts("image.sif", 5, manifest.identity.image.sha256)]
    return replace(facts, manifest=manifest, files=files, reruns=RERUNS)


def test_the_validator_finds_nothing_that_could_be_said(run: RunFiles, tmp_path: Path) -> None:
    if not VALIDATORS.exists():
        pytest.skip("the validators are not installed: make test")
    crates = [run.root]
    describe_run(run.root)
    more = tmp_path / "more"
    shutil.copytree(run.root, more)
    (more / "image.sif").write_bytes(b"image")
    facts = with_all(run_facts(run))
    for name, content in descriptions(facts).items():
        (more / name).write_bytes(content)
    broken = tmp_path / "broken"
    shutil.copytree(run.root, broken)
    (broken / "config.yaml").unlink()
    crates += [more, broken]
    script = Path(__file__).with_name("validate_offline.py")
    done = subprocess.run(
        [str(VALIDATORS), str(script), str(tmp_path / "cache"), str(CONTEXT), *map(str, crates)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: Dict[str, List[List[str]]] = json.loads(done.stdout.splitlines()[-1])
    plain, whole, damaged = (found[str(crate)] for crate in crates)
    assert [issue for issue in plain if issue[0] == "REQUIRED"] == []
    # A run without authors, and without a licence that could be linked.
    assert checks(plain) - UNKNOWN == {"ro-crate-1.1_22.1", "ro-crate-1.1_22.2"}
    assert checks(whole) - UNKNOWN == set(), whole
    assert [issue for issue in damaged if issue[0] == "REQUIRED"], "a missing file is not found"


def checks(found: List[List[str]]) -> Set[str]:
    return {identifier for _, identifier, _ in found}


def test_what_the_crate_says(run: RunFiles) -> None:
    made = descriptions(with_all(run_facts(run)))
    assert tuple(made) == DESCRIPTIONS
    graph = graph_of(made["ro-crate-metadata.json"])
    root, image = graph["./"], graph["image.sif"]
    assert root["conformsTo"] == {"@id": "https://w3id.org/ro/wfrun/process/0.5"}
    assert root["datePublished"] == "2026-01-31"
    assert image["@type"] == ["File", "ContainerImage"]
    assert image["additionalType"] == {"@id": "https://w3id.org/ro/terms/workflow-run#SIFImage"}
    assert image["sha256"] == run_facts(run).manifest.identity.image.sha256
    assert [item["@id"] for item in root["mentions"]] == [
        "#run", "#rerun-digits-b", "#rerun-digits-a",
    ]  # fmt: skip
    action = graph["#run"]
    assert action["@type"] == "CreateAction"
    assert action["endTime"] == "2026-01-31T23:59:58+00:00"
    assert {"@id": "results/model.npz"} in action["result"]
    assert {"@id": "inputs/train.tsv"} in action["object"]
    assert graph["#rerun-digits-b"]["description"] == (
        "Verdict: diverged for steps 1..2 of 9; on node7 Some CPU"
    )
    assert graph["#rerun-digits-a"]["agent"] == {"@id": "#account-bob"}
    assert graph["#software-numpy"]["softwareVersion"] == "1.23.5"
    assert graph["https://orcid.org/0000-0002-1825-0097"]["name"] == "Ada"
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    assert "code/" in graph and not any(name.startswith("code/t") for name in graph)
    bill = json.loads(made["image.cdx.json"])
    assert (bill["bomFormat"], len(bill["components"]) > 50) == ("CycloneDX", True)
    for name in ("image.cdx.json", "croissant.json"):
        assert graph[name]["contentSize"] == str(len(made[name]))


def test_the_same_run_gives_the_same_bytes(run: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    describe_run(run.root)
    before = {name: (run.root / name).read_bytes() for name in DESCRIPTIONS}
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    describe_run(run.root)
    assert before == {name: (run.root / name).read_bytes() for name in DESCRIPTIONS}
    moved = run.root.parent.parent / "elsewhere" / run.root.name
    moved.parent.mkdir()
    run.root.rename(moved)
    describe_run(moved)
    assert before == {name: (moved / name).read_bytes() for name in DESCRIPTIONS}


def test_an_anonymous_run_names_nobody(run: RunFiles) -> None:
    facts = with_all(run_facts(run))
    texts = descriptions(replace(facts, anonymous=True))
    whole = b"".join(texts.values()).decode()
    for name in ("Ada", "somebody", "bob", "node7", "node1", "Far University", "orcid"):
        assert name not in whole, name
    assert "somebody" in ro_crate_text(facts)


def test_croissant_lines_are_taken_apart(run: RunFiles) -> None:
    """The patterns against the lines of real files."""
    import re

    document = json.loads(descriptions(run_facts(run))["croissant.json"])
    assert [file["sha256"] for file in document["distribution"]] == [
        run_facts(run).manifest.identity.data.train.sha256,
        run_facts(run).manifest.identity.data.val.sha256,
    ]
    line = run.train_table.read_text().splitlines()[0]
    values = [re.match(pattern, line) for _, _, pattern in TABLE_FIELDS]
    assert "\t".join(match[1] for match in values if match) == line
    listed = [re.match(pattern, "a dir/it's 7.jpg  3 ") for _, _, pattern in LIST_FIELDS]
    assert [match[1] for match in listed if match] == ["a dir/it's 7.jpg", "3"]


def test_reruns_beside_kept_and_stated(run: RunFiles) -> None:
    """Each is one action, with all the files that state its verdict."""
    digest = sha256_of_file(run.manifest)
    run.statements.mkdir()
    for key in ("0", "1"):
        predicate = {
            "verdict": "identical", "day": "2026-03-01", "rerun": {"name": "site-b"},
            "machine": {"hosts": ["far1"], "processor": "P"},
            "steps": {"first": 3, "last": 4, "of": 9},
        }  # fmt: skip
        value = statement([descriptor("manifest.json", digest)], RERUN_VERDICT, predicate)
        (run.statements / f"rerun-verdict-{key}.json").write_text(statement_text(value))
    other = statement([descriptor("manifest.json", "0" * 64)], RERUN_VERDICT, {"verdict": "x"})
    (run.statements / "other.json").write_text(statement_text(other))
    (run.statements / "noise.json").write_text("[")
    run.verdicts.mkdir()
    comparison = Comparison(verdict="diverged", a="a").model_dump(mode="json")
    (run.verdicts / "came-along.json").write_text(json.dumps(comparison))
    identity = json.loads(run.manifest.read_text())["identity_digest"][:8]
    again = RunFiles(run.root.parent / f"digits-20260201T000000Z-{identity}")
    again.root.mkdir()
    values = json.loads(run.manifest.read_text())
    values["circumstance"].update(rerun_of=f"/old/{run.root.name}", user="eve")
    again.manifest.write_text(json.dumps(values))
    again.verdict.write_text(json.dumps({**comparison, "verdict": "cannot-run"}))
    found = {rerun.name: rerun for rerun in run_facts(run).reruns}
    assert sorted(found) == ["came-along", again.root.name, "site-b"]
    assert found["came-along"].verdict == "diverged"
    assert (found[again.root.name].verdict, found[again.root.name].account) == ("cannot-run", "eve")
    assert found["site-b"].steps == "steps 3..4 of 9"
    assert found["site-b"].statements == [
        "statements/rerun-verdict-0.json",
        "statements/rerun-verdict-1.json",
    ]
    graph = graph_of(descriptions(run_facts(run))["ro-crate-metadata.json"])
    assert len(graph["#rerun-site-b"]["result"]) == 2
    assert "endTime" not in graph["#rerun-came-along"]


def test_a_run_without_a_result(run: RunFiles) -> None:
    for path in (run.result, run.done, run.exit_code):
        path.unlink()
    action = graph_of(descriptions(run_facts(run))["ro-crate-metadata.json"])["#run"]
    assert action["actionStatus"] == "http://schema.org/ActiveActionStatus"
    assert "endTime" not in action
    run.exit_code.write_text("2\n")
    action = graph_of(descriptions(run_facts(run))["ro-crate-metadata.json"])["#run"]
    assert action["actionStatus"] == "http://schema.org/FailedActionStatus"


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_of_earlier_versions(version: str, tmp_path: Path) -> None:
    run = unpack(version, tmp_path)
    describe_run(run)
    graph = graph_of((run / "ro-crate-metadata.json").read_bytes())
    assert graph["./"]["license"] == "No licence is stated. Ask the authors."
    assert graph["#run"]["actionStatus"] == "http://schema.org/CompletedActionStatus"
    host = replace(read_host_context(PROJECT, Silent()), cache=Cache(tmp_path / "cache"))
    provenance, *_ = plan_statements(run, host)
    materials = json.loads(provenance.text)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"image", "recipe", "code", "inputs/val.tsv"} <= {item["name"] for item in materials}
