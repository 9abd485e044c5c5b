"""Site profiles: the project's own ones are valid, faults are named with their key path."""

from pathlib import Path

import pytest

from container.trouble import Trouble
from jobtemplates.sites import PROFILES, Site, load_site, parse_site, profile_folders


def cluster() -> Site:
    return parse_site(
        {
            "name": "kite",
            "description": "a cluster of the tests",
            "scheduler": "local",
            "template": "local.sh.j2",
            "max_nodes": 4,
            "nodetypes": {"f_node": {"ranks": 4, "cores": 28, "gpus": 4}},
            "ranks_per_node": 2,
        },
        "kite.yaml",
    )


def test_every_profile_of_the_project_is_valid_and_named_after_its_file() -> None:
    paths = sorted(PROFILES.glob("*.yaml"))
    assert paths
    for path in paths:
        assert load_site(path.stem, [PROFILES]).name == path.stem


def test_ranks_come_from_the_wish_then_the_node_type_then_the_site() -> None:
    assert cluster().ranks_on_a_node(None, None) == 2
    assert cluster().ranks_on_a_node("f_node", None) == 4
    assert cluster().ranks_on_a_node("f_node", 3) == 3


def test_cores_of_a_node() -> None:
    assert cluster().cores_of_a_node("f_node", here=2) == cluster().nodetypes["f_node"].cores
    assert cluster().cores_of_a_node(None, here=2) == 2


def test_an_unknown_node_type_lists_the_known_ones() -> None:
    with pytest.raises(Trouble) as caught:
        cluster().ranks_on_a_node("g_node", None)
    assert str(caught.value) == (
        "nnodetype: site kite has no node type 'g_node'\n-> node types of this site: f_node"
    )


def test_an_unknown_site_lists_the_known_ones() -> None:
    with pytest.raises(Trouble) as caught:
        load_site("mars", [PROFILES])
    assert str(caught.value) == "site: there is no site 'mars'\n-> known sites: local"


def test_a_users_own_profile_is_found_before_the_projects(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "bundle" / "sites"
    folder.mkdir(parents=True)
    text = (PROFILES / "local.yaml").read_text().replace("no scheduler", "my own")
    (folder / "local.yaml").write_text(text)
    folders = profile_folders({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert load_site("local", folders).description == "this machine, my own"


def test_all_problems_of_a_profile_are_named_at_once() -> None:
    with pytest.raises(Trouble) as caught:
        parse_site(
            {"name": "Bad Name", "description": "", "scheduler": "local", "template": "t"}, "s.yaml"
        )
    assert str(caught.value) == (
        "s.yaml: name: String should match pattern '^[a-z0-9][a-z0-9_-]*$'\n"
        "s.yaml: max_nodes: Field required\n"
        "-> correct the site profile (docs/sites.md)"
    )
