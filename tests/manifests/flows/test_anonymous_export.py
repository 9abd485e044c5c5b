"""Exports for blind review: no name is left in a record, and the run is still the same run"""

from __future__ import annotations

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Dict

import pytest

from container.progress import Silent
from manifests.flows.export import Wanted, plan_export
from manifests.host.context import HostContext
from manifests.record.run_files import RunFiles
from manifests.rundir.anonymous import Names
from manifests.rundir.verify import verify_run
from tests.exports import exported, imported

NAMES = (
    "ada", "lovelace-lab", "node1", "cluster.example", "login7", "/gs/bs", "/home/ada",
    "Lovelace", "0000-0002-1825-0097", "Far Uni",
)  # fmt: skip


@pytest.fixture
def run(finished_run: RunFiles, tmp_path: Path) -> RunFiles:
    """A run of somebody, with names wherever bundle and jobs write them."""
    values = json.loads(finished_run.manifest.read_text())
    home = "/gs/bs/lovelace-lab/ada"
    circumstance = values["circumstance"]
    circumstance.update(
        user="ada", host="login7.cluster.example", rerun_of=f"{home}/runs/digits-x",
        authors=[
            {"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097", "affiliation": "Far Uni"}
        ],
        git={"commit": "1" * 40, "branch": "ada/x"},
    )  # fmt: skip
    circumstance["paths"].update(
        config=f"{home}/jobs/config.yaml", image="/home/ada/.cache/bundle/images/cpu-x.sif",
        out=f"{home}/runs",
    )  # fmt: skip
    circumstance["placement"].update(group="lovelace-lab", jobname="digits")
    finished_run.config.write_text(
        f"group: lovelace-lab\nout: {home}/runs  # of ada's\nlr: 1\n"
        "authors: [{name: Ada Lovelace, orcid: 0000-0002-1825-0097, affiliation: Far Uni}]\n"
    )
    config = finished_run.config.read_bytes()
    values["companions"]["config.yaml"] = hashlib.sha256(config).hexdigest()
    finished_run.manifest.write_text(json.dumps(values))
    result = json.loads(finished_run.result.read_text())
    result["observed"]["ranks"] = [{"rank": 0, "host": "node1.cluster.example", "local_rank": 0}]
    finished_run.result.write_text(json.dumps(result))
    note = {"at": "2026-02-01T00:00:00Z", "by": "ada", "text": "ran on node1, not on node11"}
    labels = {"version": "1.3", "kind": "labels", "message": "ada's best", "notes": [note]}
    finished_run.labels.write_text(json.dumps(labels))
    finished_run.logs.mkdir()
    (finished_run.logs / "stderr.log").write_text(
        f"[node1:123] cannot open {home}/runs/x, {home}/jobs/y, /home/ada/z or /home/eve/z\n"
        f"canada, adamant, train_root={tmp_path}/data\n"
    )
    finished_run.statements.mkdir()
    (finished_run.statements / "run.json").write_text('{"by": "ada"}')
    finished_run.plot.write_bytes(b"ada")
    return finished_run


def contents(file: Path) -> Dict[str, str]:
    with tarfile.open(file) as opened:
        return {
            member.name: opened.extractfile(member).read().decode("utf-8", "replace")  # type: ignore[union-attr]
            for member in opened.getmembers()
        }


def test_no_name_is_left(run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    host = replace(host, user="ada", hostname="login7", environ={"HOME": "/home/ada"})
    file = exported(run, tmp_path / "a.tar", host, "data", anonymous=True)
    found = contents(file)
    left = [
        (member, name)
        for member, text in found.items()
        for name in NAMES
        if name in (text + member).replace("canada, adamant", "").replace("node11", "")
        and "/code/" not in member
    ]
    assert left == []
    assert not [text for text in found.values() if str(tmp_path) in text]
    by_name = {name.partition("/")[2]: text for name, text in found.items()}
    assert by_name["logs/stderr.log"] == (
        "[host-2:123] cannot open /anonymous/runs/x, /anonymous/work/y, /anonymous/home/z "
        "or /anonymous/home/z\ncanada, adamant, train_root=/anonymous/train\n"
    )
    assert (
        by_name["config.yaml"]
        == "group: anonymous\nout: /anonymous/runs  # of anonymous's\nlr: 1\n"
        "authors: [{name: anonymous, orcid: anonymous, affiliation: anonymous}]\n"
    )
    assert json.loads(by_name["labels.json"])["notes"][0]["text"] == "ran on host-2, not on node11"
    manifest = json.loads(by_name["manifest.json"])
    before = json.loads(run.manifest.read_text())
    assert manifest["identity"] == before["identity"]
    assert manifest["identity_digest"] == before["identity_digest"]
    assert manifest["circumstance"]["user"] == "anonymous"
    assert (manifest["circumstance"].get("git"), manifest["circumstance"].get("authors")) == (
        None, None,
    )  # fmt: skip
    assert json.loads(by_name["export.json"])["anonymous"] is True
    assert not {"job.sh", "plot.png", "statements/run.json"} & by_name.keys()


def test_others_whom_the_records_name(run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    """Colleagues who noted and cancelled and reran it, what the scheduler was asked for, and
    homes below other folders."""
    values = json.loads(run.manifest.read_text())
    values["circumstance"]["placement"].update(
        others={"M": "curie@far.example", "-m": "abe"}, stdout="/scratch/curielab/o.txt",
        submit_options=["--account=tga-curie", "-P", "tga-radium", "-q", "long"],
    )  # fmt: skip
    text = run.config.read_text() + "initmodel: /nfs/home/zoe/init.npz  # zoe@far.example has it\n"
    run.config.write_text(text)
    values["companions"]["config.yaml"] = hashlib.sha256(text.encode()).hexdigest()
    run.manifest.write_text(json.dumps(values))
    note = {"at": "2026-02-01T00:00:00Z", "by": "bob", "text": "zoe's"}
    run.labels.write_text(json.dumps({"version": "1.3", "kind": "labels", "notes": [note]}))
    run.cancelled.write_text(
        json.dumps({"kind": "cancellation", "by": "dan", "host": "gate3.far.example", "at": "x"})
    )
    (run.logs / "stderr.log").write_text("slurmstepd: node7: cancelled by dan on gate3\n")
    run.verdicts.mkdir()
    (run.verdicts / "again.json").write_text(json.dumps({
        "kind": "comparison", "verdict": "identical", "a": "/gs/bs/lovelace-lab/ada/runs/x",
        "b": "/scratch/bobs/runs/again", "evidence": ["/scratch/bobs/runs/again: whole, node7"],
        "circumstances": [
            {"path": "user", "a": "ada", "b": "bobby"}, {"path": "host", "a": "x", "b": "node7"},
            {"path": "git.commit", "a": "1" * 40, "b": "2" * 40},
        ],
    }))  # fmt: skip
    found = contents(exported(run, tmp_path / "a.tar", host, anonymous=True))
    words = ("curie", "radium", "zoe/", "zoe@", "bob", "dan", "gate3", "far.example", "node7",
             "2222")  # fmt: skip
    assert [
        (member, word)
        for member, text in found.items()
        for word in words
        if word in text and "/code/" not in member and "/inputs/" not in member
        and not member.endswith(".cdx.json")
    ] == []  # fmt: skip
    by_name = {name.partition("/")[2]: text for name, text in found.items()}
    placement = json.loads(by_name["manifest.json"])["circumstance"]["placement"]
    assert placement["submit_options"] == ["--account=anonymous", "-P", "anonymous", "-q", "long"]
    verdict = json.loads(by_name["verdicts/again.json"])
    assert verdict["b"] == "/anonymous/runs/again" and verdict["verdict"] == "identical"
    assert imported(tmp_path / "a.tar", tmp_path / "new", host).verdicts.is_dir()


def test_it_is_still_the_same_run(run: RunFiles, host: HostContext, tmp_path: Path) -> None:
    file = exported(run, tmp_path / "a.tar", host, "data", "image", anonymous=True)
    again = exported(run, tmp_path / "b.tar", host, "data", "image", anonymous=True)
    assert file.read_bytes() == again.read_bytes()
    files = imported(file, tmp_path / "new", host)
    from manifests.flows.recorded_data import data_here
    from manifests.rundir.records import read_manifest

    problems = verify_run(
        files, image_path=lambda _identity: files.image, progress=Silent(),
        circumstance=data_here(files, read_manifest(files).circumstance, {}),
    )  # fmt: skip
    assert problems.all == []


def test_names_that_cannot_be_removed_are_said(
    run: RunFiles, host: HostContext, tmp_path: Path
) -> None:
    plan = plan_export(run.root, tmp_path / "a.tar", Wanted(anonymous=True), host)
    assert plan.notes == [
        "left out, they name people or machines: job.sh, plot.png, statements/run.json"
    ]
    values = json.loads(run.manifest.read_text())
    values["circumstance"]["user"] = "hello"
    run.manifest.write_text(json.dumps(values))
    plan = plan_export(run.root, tmp_path / "a.tar", Wanted(anonymous=True), host)
    assert plan.notes[1:] == [
        "names stand in files that cannot be changed, because the identity has their digests: "
        "code/trainer/train.py (hello)"
    ]


def test_words_and_paths() -> None:
    names = Names(("ada",), ("n1.x.org", "10.0.0.1"), {"/a": "/P/a", "/a/b": "/P/b"})
    for text, expected in (
        ("ada Ada ada_x adab x-ada /ada/", "anonymous Ada ada_x adab x-anonymous /anonymous/"),
        ("n1.x.org n1 n11 n1.y 10.0.0.1 10", "host-1 host-1 n11 host-1.y host-2 10"),
        ("/a /a/b /a/b/c /ab /x/a (/a)", "/P/a /P/b /P/b/c /ab /x/a (/P/a)"),
        ("/home/eve/x /root/y /rooted", "/anonymous/home/x /anonymous/home/y /rooted"),
        ("/data/home/eve s/root/y", "/anonymous/home s/root/y"),
        ("/nfs/home/eve/x,/home1/eve/y", "/anonymous/home/x,/anonymous/home/y"),
        ("/export/home/eve:/gpfs/users/eve/x", "/anonymous/home:/anonymous/home/x"),
        ("/anonymous/home/x /data/homepage/x", "/anonymous/home/x /data/homepage/x"),
        ("~eve/x ~/y a~b x/~c", "~anonymous/x ~/y a~b x/~c"),
        ("to=eve.curie@far.example, numpy@1.23", "to=anonymous@anonymous, numpy@1.23"),
    ):
        assert names.text(text) == expected
    assert names.value({"ada": ["ada", 1, None]}) == {"ada": ["anonymous", 1, None]}
    for long in ("a" * 200_000, "/+" * 50_000, "/a" * 50_000):  # a moment, not minutes
        assert names.text(long) in (long, long.replace("/a", "/P/a", 1))
