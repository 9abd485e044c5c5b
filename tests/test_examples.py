"""examples/: each config is planned as it stands by ``submit --dry-run``; ``init``"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np
import pytest
from PIL import Image

import bundle
from container.cache import Cache
from container.image import image_path, record_image
from container.recipe import load_recipe
from container.yaml_text import load_yaml
from manifests.config.config_file import known_keys, read_config
from manifests.config.key_meanings import MEANINGS
from manifests.config.recipes import RECIPES

PROJECT = Path(__file__).resolve().parents[1]
EXAMPLES = PROJECT / "examples"
CONFIGS = sorted(
    path.relative_to(EXAMPLES).as_posix()
    for path in EXAMPLES.rglob("*")
    if path.suffix in (".yaml", ".json")
)

#: The keys of the original trainer.
ORIGINAL = {
    "nnodetype", "nnodes", "walltime", "jobname", "stdout", "stderr", "others", "modules",
    "nclasses", "mean.npy", "arch", "epoch", "batchsize", "loaderjob", "out", "resume", "initmodel",
    "test", "communicator", "loadtype", "iterator", "optimizer",
}  # fmt: skip
DRIVER = "560.35.03"


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Any]:
    """The command line on a host with images of all stacks, Apptainer and two GPUs, all made up."""
    programs = tmp_path / "bin"
    programs.mkdir()
    smi = f'case "$*" in *driver*) echo {DRIVER} ;; *) echo GPU; echo GPU ;; esac'
    for name, text in (
        ("apptainer", 'case "$1" in --version) echo apptainer version 1.4.5 ;; esac'),
        ("nvidia-smi", smi),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    cache = Cache(tmp_path / "cache")
    cache.images.mkdir(parents=True)
    for stack in ("cpu", "cuda12"):
        path = image_path(load_recipe(PROJECT, stack), cache)
        path.write_bytes(b"image")
        record_image(path, "6105d6cc76af400325e94d588ce511be5bfdbb73b437dc51eca43917d7a43e3d")
    monkeypatch.setenv("BUNDLE_CACHE", str(cache.root))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def run(*words: object) -> Any:
        code: Any = 0
        try:
            bundle.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def make_data(folder: Path, nclasses: int, train: int, val: int) -> None:
    """Lists as long as a config needs them, of one image."""
    for name, count in (("train", train), ("val", val)):
        (folder / name).mkdir(parents=True)
        Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(folder / name / "black.jpg")
        lines = (f"black.jpg {number % nclasses}\n" for number in range(count))
        (folder / f"{name}.txt").write_text("".join(lines))
    np.save(folder / "mean.npy", np.zeros((3, 256, 256), np.float32))


@pytest.mark.parametrize("name", CONFIGS)
def test_an_example_can_be_submitted_as_it_stands(
    name: str, tmp_path: Path, call: Callable[..., Any]
) -> None:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    config = tmp_path / "examples" / name
    values = load_yaml(config)
    ranks = values["nnodes"] * 4 if "nnodetype" in values else values.get("nnodes", 1)
    ranks *= values.get("ranks_per_node", 1)
    root = values.get("train_root", "data")
    make_data(
        config.parent / "data",
        values["nclasses"],
        max(values["nclasses"], ranks * values["batchsize"]),
        max(values["nclasses"], ranks),
    )
    if root == "data":  # the lists' own folder
        for which in ("train", "val"):
            black = config.parent / "data" / which / "black.jpg"
            shutil.copy(black, config.parent / "data" / "black.jpg")
    code, out, err = call("submit", "--dry-run", config)
    assert code == 0, err
    assert out.startswith("#!/")
    assert not (config.parent / "runs").exists()


@pytest.mark.parametrize("site", ["tsubame3", "tsubame4"])
def test_the_original_trainers_configs_have_all_its_keys(site: str) -> None:
    yaml, from_json = (load_yaml(EXAMPLES / site / f"config.{kind}") for kind in ("yaml", "json"))
    assert yaml == from_json
    lists = {"train", "train_root", "val", "val_root"}
    assert set(yaml) == ORIGINAL | lists | {"site"}
    assert len(ORIGINAL) == 22


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_the_examples_of_recipes_are_what_init_writes(
    recipe: str, tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = tmp_path / f"{recipe}.yaml"
    code, out, _ = call("init", "--site", "slurm", "--stack", "cuda12", "--recipe", recipe, file)
    assert code == 0 and out.startswith(f"config {file}\n-> ")
    text = (EXAMPLES / "recipes" / file.name).read_text()
    assert file.read_text() == text, "run: python -m tests.recipe_examples"


def test_every_key_has_a_meaning_and_stands_in_a_new_config(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    assert set(MEANINGS) == set(known_keys())
    file = tmp_path / "c.yaml"
    assert call("init", file)[0] == 0
    shown = re.findall(r"^(?:# )?([a-z._]+): ", file.read_text(), re.MULTILINE)
    assert [key for key in MEANINGS if key not in shown] == []


def test_lines_that_are_commented_out_show_the_defaults(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = tmp_path / "c.yaml"
    assert call("init", "--site", "slurm", "--stack", "cpu", file)[0] == 0
    plain = read_config(file, home=None)
    text = file.read_text()
    assert "\n# lr: 0.01 " in text
    without = ("resume", "initmodel")  # paths of files that are not there need not be read
    for key in set(MEANINGS) - set(without):
        text = text.replace(f"\n# {key}: ", f"\n{key}: ")
    file.write_text(text)
    assert read_config(file, home=None) == plain.model_copy(update={"jobname": "c"})


@pytest.mark.parametrize(
    ("site", "recipe", "keys"),
    [
        ("tsubame4", "goyal2017", {"nnodetype": "node_f", "nnodes": 64, "ranks_per_node": 4}),
        (
            "tsubame4",
            "akiba2017",
            {"nnodetype": "node_f", "nnodes": 128, "ranks_per_node": 8, "processes": 512,
             "communicator": "ordered"},
        ),
        ("tsubame4", "nin", {"nnodetype": "gpu_1", "nnodes": 1, "ranks_per_node": 1}),
        ("abci3", None, {"nnodetype": "rt_HG", "nnodes": 1, "ranks_per_node": 1}),
        ("local", "goyal2017", {"nnodes": 1, "ranks_per_node": 256, "processes": 2,
                                "communicator": "ordered"}),
    ],
)  # fmt: skip
def test_a_recipe_is_laid_out_on_the_nodes_of_a_site(
    site: str, recipe: str, keys: Dict[str, Any], tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = tmp_path / "c.yaml"
    more = ["--recipe", recipe] if recipe else []
    assert call("init", "--site", site, "--stack", "cuda12", *more, file)[0] == 0
    values = load_yaml(file)
    assert {key: values.get(key) for key in keys} == keys
    expected: Dict[str, Any] = {"goyal2017": 256, "akiba2017": 1024}
    assert values["nnodes"] * values["ranks_per_node"] == expected.get(recipe, 1)
    make_data(tmp_path / "data", 1000, 32768, 1024)
    shutil.copy(tmp_path / "data" / "train" / "black.jpg", tmp_path / "data")
    code, _, err = call("submit", "--dry-run", file)
    assert code == 0, err


def scheduler_commands(folder: Path, names: List[str]) -> None:
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("commands", "site"),
    [
        (["sbatch", "squeue"], "slurm"),
        (["qsub", "qstat", "qconf"], "gridengine"),
        (["qsub", "qstat", "pbsnodes"], "pbs"),
        (["qsub", "qstat"], "local"),
        ([], "local"),
    ],
)
def test_the_site_is_guessed_by_the_schedulers_commands(
    commands: List[str], site: str, tmp_path: Path, call: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    scheduler_commands(tmp_path / "bin", commands)
    assert f"\nsite: {site} " in call("init", "-")[1]


def test_the_only_profile_of_ones_own_goes_before_the_general_one(
    tmp_path: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    scheduler_commands(tmp_path / "bin", ["sbatch", "squeue"])
    own = tmp_path / "settings" / "bundle" / "sites"
    own.mkdir(parents=True)
    (own / "kite.yaml").write_text("name: kite\ndescription: Kite\nscheduler: slurm\n")
    (own / "here.yaml").write_text("name: here\ndescription: Here\nscheduler: local\n")
    assert "\nsite: kite " in call("init", "-")[1]
    (own / "lark.yaml").write_text("name: lark\ndescription: Lark\nscheduler: slurm\n")
    assert "\nsite: slurm " in call("init", "-")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--recipe", "goyal17"],
            "bundle: --recipe: there is no recipe 'goyal17'; did you mean goyal2017?\n"
            "-> known recipes: goyal2017, akiba2017, googlenet, alexnet, nin\n",
        ),
        (
            ["--stack", "cpuu"],
            "bundle: --stack: there is no stack 'cpuu'; did you mean cpu?\n"
            "-> known stacks: cpu, cuda12\n",
        ),
        (
            ["--site", "tsubame"],
            "bundle: site: there is no site 'tsubame'; did you mean tsubame4?\n"
            "-> known sites: abci3, gridengine, local, pbs, slurm, tsubame3, tsubame4\n",
        ),
    ],
)
def test_unknown_words_of_init_name_the_nearest(
    words: List[str], message: str, tmp_path: Path, call: Callable[..., Any]
) -> None:
    file = tmp_path / "new.yaml"
    code, out, err = call("init", *words, file)
    assert (code, out) == (2, "")
    assert err.endswith(message)
    assert not file.exists()


def test_init_replaces_nothing_and_writes_no_json(tmp_path: Path, call: Callable[..., Any]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("mine")
    code, _, err = call("init", "--site", "local", "--stack", "cpu", file)
    assert (code, err) == (
        2, f"bundle: {file}: exists already\n-> give another name, or remove it\n",
    )  # fmt: skip
    assert file.read_text() == "mine"
    json_file = tmp_path / "c.json"
    code, _, err = call("init", "--site", "local", "--stack", "cpu", json_file)
    assert code == 2 and "JSON has no comments" in err
    assert not json_file.exists()
    missing = tmp_path / "no" / "c.yaml"
    code, _, err = call("init", "--site", "local", "--stack", "cpu", missing)
    assert code == 2 and err.endswith(
        f"{missing}: there is no folder {missing.parent}\n-> make it, or name another\n"
    )


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["sumbit"], "Did you mean 'submit'?"),
        (["data", "crpo"], "Did you mean 'crop'?"),
        (["list", "--sort", "craeted"], "Did you mean 'created'?"),
        (["completion", "bsh"], "Did you mean 'bash'?"),
        (["submit", "--dry-rnu", "x"], "--dry-run"),
        (["doctor", "--site", "slrum"], "did you mean slurm?"),
        (["build", "--stack", "cuda1"], "did you mean cuda12?"),
        (["list", "--state", "runing"], "did you mean running?"),
    ],
)
def test_a_mistyped_word_names_the_nearest(
    words: List[str], hint: str, call: Callable[..., Any]
) -> None:
    code, _, err = call(*words)
    assert code == 2 and hint in err


# --- a run of the same identity that is done ------------------------------------------------


def test_an_identical_run_that_is_done_is_named_and_with_unless_done_nothing_is_started(
    tmp_path: Path, call: Callable[..., Any]
) -> None:
    shutil.copy(EXAMPLES / "workstation.yaml", tmp_path)
    make_data(tmp_path / "data", 8, 128, 8)
    config = tmp_path / "workstation.yaml"
    code, out, err = call("submit", "--dry-run", "--json", config)
    assert code == 0, err
    assert "identical run done" not in err
    identity = json.loads(out)["identity"]
    run = tmp_path / "runs" / f"workstation-20260101T000000Z-{identity[:8]}"
    run.mkdir(parents=True)
    (run / "manifest.json").write_text(json.dumps({"identity_digest": identity}))
    for name, text in (("result.json", "{}"), ("exit_code", "0")):
        (run / name).write_text(text)
    assert "identical run done" not in call("submit", "--dry-run", config)[2]  # no DONE: not done
    (run / "DONE").write_text("")
    assert f"bundle: identical run done: {run}\n" in call("submit", "--dry-run", config)[2]
    code, out, _ = call("submit", "--unless-done", config)
    assert (code, out) == (0, f"done {run}\n-> python bundle.py show {run}\n")
    code, out, _ = call("submit", "--unless-done", "--json", config)
    assert json.loads(out) == {"done": True, "identity": identity, "run": str(run)}
    assert list((tmp_path / "runs").iterdir()) == [run]
    named, run = run, run.rename(tmp_path / "runs" / "the best of all")  # by a person
    assert f"bundle: identical run done: {run}\n" in call("submit", "--dry-run", config)[2]
    code, out, _ = call("submit", "--unless-done", config)
    assert (code, out) == (0, f"done {run}\n-> python bundle.py show '{run}'\n")
    run = run.rename(named)
    (run / "exit_code").write_text("1")  # it failed after all
    assert "identical run done" not in call("submit", "--dry-run", config)[2]
    other = {"identity_digest": identity[:8] + "0" * 56}  # another identity of the same beginning
    (run / "exit_code").write_text("0")
    (run / "manifest.json").write_text(json.dumps(other))
    assert "identical run done" not in call("submit", "--dry-run", config)[2]


# --- an administrator's cache, and places that cannot be written ----------------------------


@pytest.fixture
def nobody_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """A folder that this account may read only; root, who may write everywhere, is told so too."""
    closed: List[Path] = []
    access = os.access

    def asked(path: Any, mode: int, **more: Any) -> bool:
        denied = mode & os.W_OK and any(Path(path) == folder for folder in closed)
        return not denied and access(path, mode, **more)

    monkeypatch.setattr(os, "access", asked)

    def close(folder: Path) -> None:
        closed.append(folder)

    return close


def test_a_groups_images_are_used_and_what_is_remembered_lies_at_home(
    tmp_path: Path, call: Callable[..., Any], nobody_writes: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    shutil.copy(EXAMPLES / "workstation.yaml", tmp_path)
    make_data(tmp_path / "data", 8, 128, 8)
    nobody_writes(tmp_path / "cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    before = sorted(path for path in (tmp_path / "cache").rglob("*"))
    code, out, err = call("submit", "--dry-run", tmp_path / "workstation.yaml")
    assert code == 0, err
    assert f"image={tmp_path}/cache/images/cuda12-" in out
    assert "remembered" not in err and "cached" not in err
    assert sorted(path for path in (tmp_path / "cache").rglob("*")) == before
    assert call("build", "--stack", "cuda12", "--dry-run")[0] == 0


def test_a_dry_run_needs_no_out_that_can_be_written_and_asks_what_is_remembered(
    tmp_path: Path, call: Callable[..., Any], nobody_writes: Callable[[Path], None]
) -> None:
    shutil.copy(EXAMPLES / "workstation.yaml", tmp_path)
    make_data(tmp_path / "data", 8, 128, 8)
    config, out = tmp_path / "workstation.yaml", tmp_path / "runs"
    out.mkdir()
    nobody_writes(out)
    code, script, err = call("submit", "--dry-run", config)
    assert code == 0, err
    assert script.startswith("#!/")
    assert f"warning: {out}: cannot be written: Permission denied: submit would end here" in err
    code, script, err = call("submit", config)
    assert (code, script) == (2, "")
    assert err.endswith(
        f"bundle: {out}: cannot be written: Permission denied\n"
        "-> choose a folder that you may write as `out`\n"
    )
    assert list(out.iterdir()) == []
