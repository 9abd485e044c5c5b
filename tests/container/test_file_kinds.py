"""A key in a file of another kind is sent to its own, in every kind of file that people write."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict

import pytest

from container.file_kinds import KINDS, Kind, key_of_another
from container.stack import Stack, load_stack
from container.trouble import Trouble
from jobtemplates.sites import NodeType, Site, parse_site
from manifests.config.config_file import known_keys, parse_config

STACKS = Path(__file__).resolve().parents[2] / "container" / "stacks"


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("config", known_keys()),
        ("site", Site.model_fields),
        ("node type", NodeType.model_fields),
        ("stack", Stack.model_fields),
    ],
)
def test_the_keys_are_those_of_the_models(kind: Kind, keys: Dict[str, Any]) -> None:
    assert KINDS[kind].keys == set(keys)


def problems_of_config(**values: Any) -> Dict[str, str]:
    with pytest.raises(Trouble) as caught:
        parse_config(values, "c.yaml")
    texts = (text.split(": ", 2) for text in caught.value.problems)
    return {key: said for _, key, said in texts}


@pytest.mark.parametrize("key", sorted(KINDS["site"].keys - KINDS["config"].keys))
def test_every_key_of_a_profile_in_a_config(key: str) -> None:
    assert problems_of_config(**{key: 1, "site": "abci"})[key] == (
        "is a key of site profiles, not of configs: write it into your profile of the site, "
        "~/.config/bundle/sites/abci.yaml (docs/sites.md)"
    )


def test_a_key_of_a_node_type_in_a_config() -> None:
    assert problems_of_config(gpus=4)["gpus"] == (
        "is a key of the node types of a site profile, not of configs: write it below "
        "nodetypes.NAME in ~/.config/bundle/sites/local.yaml (docs/sites.md); a run has nnodetype, "
        "nnodes and ranks_per_node"
    )


PROFILE = {"name": "mine", "description": "x", "scheduler": "slurm"}


@pytest.mark.parametrize("key", sorted(KINDS["config"].keys - KINDS["site"].keys - {"stack"}))
def test_every_key_of_a_config_in_a_profile(key: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_site({**PROFILE, key: 1}, "mine.yaml")
    assert str(caught.value) == (
        f"mine.yaml: {key}: is a key of configs, not of site profiles: "
        "write it into the config file of a run (docs/configuration.md)\n"
        "-> correct the site profile (docs/sites.md)"
    )


def test_within_a_profile() -> None:
    node = {"ranks": 1, "cores": 1, "mpirun": ["srun"], "gpu": 1}
    with pytest.raises(Trouble) as caught:
        parse_site({**PROFILE, "gpus": 4, "nodetypes": {"a": node}}, "mine.yaml")
    assert caught.value.problems == [
        "mine.yaml: nodetypes.a.mpirun: is a key of site profiles, not of the node types of a site "
        "profile: write it into your profile of the site, ~/.config/bundle/sites/mine.yaml "
        "(docs/sites.md)",
        "mine.yaml: nodetypes.a.gpu: is not a known key; did you mean gpus?",
        "mine.yaml: gpus: is a key of the node types of a site profile, not of site profiles: "
        "write it below nodetypes.NAME in ~/.config/bundle/sites/mine.yaml (docs/sites.md); "
        "a run has nnodetype, nnodes and ranks_per_node",
    ]


def test_in_a_stack_file(tmp_path: Path) -> None:
    path = tmp_path / "cpu.yaml"
    path.write_text((STACKS / "cpu.yaml").read_text() + "\nmodules: [x]\nprobe: []\n")
    with pytest.raises(Trouble) as caught:
        load_stack(path)
    assert caught.value.problems == [
        f"{path}: modules: is a key of configs, not of stack files: "
        "write it into the config file of a run (docs/configuration.md)",
        f"{path}: probe: is not a known key",
    ]


def test_a_key_that_no_file_has() -> None:
    assert key_of_another("frobnicate", "config") == ""
    assert key_of_another("epoch", "config") == ""
