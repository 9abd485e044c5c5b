"""A whole run in a locale that is not UTF-8: host, job script, ranks and the verbs afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.conftest import Bench, complaints
from tests.locales import OTHERS, make_locale

pytestmark = pytest.mark.image


def rename_classes(data: Path) -> None:
    """Names beyond ASCII for folders, and in the lists."""
    for part in ("train", "val"):
        text = (data / f"{part}.txt").read_text(encoding="utf-8")
        for label, name in enumerate(("café", "日本")):
            (data / part / f"{label} it's").rename(data / part / name)
            text = text.replace(f"{label} it's/", f"{name}/")
        (data / f"{part}.txt").write_text(text, encoding="utf-8")


@pytest.mark.long
def test_a_run_in_another_locale(bench: Bench, tmp_path: Path) -> None:
    rename_classes(bench.data)
    data = bench.data.rename(bench.root / "données")
    places = {name: str(data / name.partition("_")[0]) for name in ("train_root", "val_root")}
    places |= {name: str(data / f"{name}.txt") for name in ("train", "val")}
    config = bench.config(
        "läufe", **places, **{"mean.npy": str(data / "mean.npy"), "out": str(bench.root / "läufe")}
    )
    digests = []
    for environment in ({"LC_ALL": "C.UTF-8"}, make_locale(tmp_path, *OTHERS[0])):
        bench.environment = environment
        run = bench.submit(config)
        result = json.loads((run / "result.json").read_text(encoding="utf-8"))
        manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
        digests.append((manifest["identity_digest"], result["digests"]))
        assert manifest["circumstance"]["paths"]["train_root"] == places["train_root"]
        assert "café/" in (run / "inputs" / "train.tsv").read_text(encoding="utf-8")
        assert complaints(run) == ""
    assert digests[0] == digests[1]
    for verb in ("show", "status", "logs", "plot"):
        assert bench.bundle(verb, run).returncode == 0
    assert "läufe" in bench.bundle("list", "--wide").stdout
    done = bench.bundle("verify", run)
    assert done.stderr.count("warning") == 0
    assert "verdict: identical" in bench.bundle("rerun", run).stdout
