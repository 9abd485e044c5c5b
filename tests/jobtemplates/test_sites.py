"""Site profiles: the project's own ones are valid, faults are named with their key path."""

from pathlib import Path
from typing import Any, Dict

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
        "nnodetype: site kite has no node type 'g_node'; did you mean f_node?\n"
        "-> node types of this site: f_node"
    )


def test_an_unknown_site_lists_the_known_ones() -> None:
    with pytest.raises(Trouble) as caught:
        load_site("mars", [PROFILES])
    assert str(caught.value) == (
        "site: there is no site 'mars'\n"
        "-> known sites: abci3, gridengine, local, pbs, slurm, tsubame3, tsubame4"
    )


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
            {
                "name": "Bad Name",
                "description": "",
                "scheduler": "slurm",
                "max_nodes": 0,
                "directives": ["--nodes={nodes} {colour}", "--x\n"],
                "nodetypes": {"big": {"ranks": 1, "cores": 2, "directives": ["{size}"]}},
            },
            "s.yaml",
        )
    assert str(caught.value) == (
        "s.yaml: name: found 'Bad Name', expected lower-case letters, digits, - and _\n"
        "s.yaml: max_nodes: found 0, expected a number >= 1\n"
        "s.yaml: nodetypes.big.directives[0]: unknown placeholder {size} "
        "(docs/sites.md lists them)\n"
        "s.yaml: directives[0]: unknown placeholder {colour} (docs/sites.md lists them)\n"
        "s.yaml: directives[1]: a line break or another control character\n"
        "-> correct the site profile (docs/sites.md)"
    )


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"scheduler": "lsf"},
            "scheduler: found 'lsf', expected one of local, slurm, gridengine, pbs",
        ),
        (
            {"scheduler": "local", "directives": ["-q x"]},
            "a site without a scheduler has no directives and no submit_options",
        ),
        (
            {"scheduler": "gridengine", "directives": ["-pe {pe} {slots}"]},
            "{pe} in directives needs the key parallel_environment",
        ),
    ],
)
def test_a_profile_that_contradicts_itself(keys: Dict[str, Any], problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_site({"name": "x", "description": "", **keys}, "x.yaml")
    assert caught.value.problems == [f"x.yaml: {problem}"]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (
            {"template": "nothere.sh.j2"},
            "template: there is no template 'nothere.sh.j2'; known: gridengine.sh.j2, "
            "local.sh.j2, pbs.sh.j2, slurm.sh.j2",
        ),
        (
            {"template": "body.sh.j2"},
            "template: there is no template 'body.sh.j2'; known: gridengine.sh.j2, "
            "local.sh.j2, pbs.sh.j2, slurm.sh.j2",
        ),
        (
            {
                "environment": {
                    "UCX_TLS": "rc",
                    "NCCL_IB_HCA": "mlx5",
                    "NCCL_SOCKET_IFNAME": "ib0",
                    "NCCL_ALGO": "Tree",
                    "OMPI_MCA_coll_tuned": "1",
                }
            },
            "environment: NCCL_ALGO, OMPI_MCA_coll_tuned: may choose algorithms or inject code; a "
            "job clears such names, and gets back what its manifest records",
        ),
        (
            {"mca": {"btl_tcp_if_include": "ib0", "coll_tuned_use_dynamic_rules": "1"}},
            "mca: coll_tuned_use_dynamic_rules: the order in which ranks are summed decides bits; "
            "bundle sets it itself",
        ),
    ],
)
def test_what_a_profile_may_not_choose(keys: Dict[str, Any], problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_site({"name": "x", "description": "", "scheduler": "local", **keys}, "x.yaml")
    assert str(caught.value) == (f"x.yaml: {problem}\n-> correct the site profile (docs/sites.md)")


def test_network_settings_are_the_sites_own() -> None:
    site = parse_site(
        {
            "name": "x",
            "description": "",
            "scheduler": "local",
            "mca": {"btl_tcp_if_include": "ib0"},
            "environment": {"UCX_TLS": "rc", "OMPI_MCA_btl": "tcp", "APPTAINER_TMPDIR": "/scratch"},
        },
        "x.yaml",
    )
    assert list(site.environment) == ["UCX_TLS", "OMPI_MCA_btl", "APPTAINER_TMPDIR"]


def test_a_profile_is_called_like_its_file(tmp_path: Path) -> None:
    path = tmp_path / "nm.yaml"
    path.write_text("{name: elsewhere, description: '', scheduler: local}\n")
    with pytest.raises(Trouble) as caught:
        load_site("nm", [tmp_path])
    assert str(caught.value) == (
        f"{path}: name: found 'elsewhere', expected 'nm', the file's name\n"
        "-> rename one of them: a run finds its profile again by this name"
    )


def test_a_cluster_with_node_types_wants_one_named() -> None:
    site = load_site("tsubame3", [PROFILES])
    assert site.ranks_on_a_node("h_node", None) == 2
    assert site.cores_of_a_node("h_node", here=1) == 14
    with pytest.raises(Trouble) as caught:
        site.ranks_on_a_node(None, 1)
    assert str(caught.value) == (
        "nnodetype: is missing, site tsubame3 has more than one node type\n"
        "-> node types of this site: f_node, h_node, q_node, s_gpu"
    )


def test_limits_of_a_node_type_go_before_those_of_the_site() -> None:
    site = load_site("abci3", [PROFILES])
    assert (site.nodes_there_are("rt_HG"), site.nodes_there_are("rt_HF")) == (1, 64)


def test_a_folder_of_profiles_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    """As below the ``HOME`` of another account. Root can read those, so here it is a loop."""
    folder = tmp_path / "config" / "bundle" / "sites"
    folder.parent.mkdir(parents=True)
    folder.symlink_to(folder)
    folders = profile_folders({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    assert load_site("slurm", folders).name == "slurm"
    with pytest.raises(Trouble) as caught:
        load_site("mars", folders)
    assert str(caught.value) == (
        f"site: there is no site 'mars'\n{folder} cannot be read: Too many levels of symbolic links"
        "\n-> known sites: abci3, gridengine, local, pbs, slurm, tsubame3, tsubame4"
    )
    folder.unlink()
    folder.write_text("a file in its place")
    assert load_site("slurm", folders).name == "slurm"


# --- an administrator's profiles ------------------------------------------------------------

KITE: Dict[str, Any] = {"name": "kite", "description": "", "scheduler": "slurm"}


def test_profiles_of_this_host_lie_between_the_users_and_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert profile_folders({})[1] == Path("/etc/bundle/sites")
    of_host, own = tmp_path / "etc", tmp_path / "config" / "bundle" / "sites"
    for folder, names in ((of_host, ("kite", "local", "lark")), (own, ("lark",))):
        folder.mkdir(parents=True)
        for name in names:
            text = f"name: {name}\ndescription: {folder.name}\nscheduler: local\n"
            (folder / f"{name}.yaml").write_text(text)
    monkeypatch.setattr("jobtemplates.sites.OF_THIS_HOST", of_host)
    folders = profile_folders({"XDG_CONFIG_HOME": str(tmp_path / "config")})
    found = {name: load_site(name, folders).description for name in ("kite", "local", "lark")}
    assert found == {"kite": "etc", "local": "etc", "lark": "sites"}
    assert load_site("slurm", folders).description == "a Slurm cluster"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"max_node": 3}, "max_node: is not a known key; did you mean max_nodes?"),
        (
            {"nodetypes": {"big": {"ranks": 1, "core": 2, "cores": 2}}},
            "nodetypes.big.core: is not a known key; did you mean cores?",
        ),
        ({"nodetypes": {"big": {"ranks": 1}}}, "nodetypes.big.cores: is missing"),
        ({"max_nodes": "many"}, "max_nodes: found 'many', expected a whole number"),
        ({"modules": "openmpi"}, "modules: found 'openmpi', expected a list"),
        ({"mpirun": []}, "mpirun: found an empty list, expected a list of 1 or more"),
        ({"mca": {"pml": 1}}, "mca.pml: found 1, expected text"),
        (
            {"bind": "core"},
            "bind: found 'core', expected one of none, cores; did you mean cores?",
        ),
        (
            {"scheduler": "slrum"},
            "scheduler: found 'slrum', expected one of local, slurm, gridengine, pbs; "
            "did you mean slurm?",
        ),
        (
            {"max_walltime": "3 days"},
            "max_walltime: found '3 days', expected hours, minutes and seconds as hh:mm:ss, in "
            "quotes",
        ),
        (
            {"environment": {"TMPDIR": "/scr/$USER"}},
            "environment: TMPDIR: '/scr/$USER': no variable is expanded here; for a scratch folder "
            "of each job use the key scratch",
        ),
        (
            {"scratch": "scr/$USER"},
            "scratch: found 'scr/$USER', expected an absolute path without control characters",
        ),
        (
            {"scratch": "/scr/$HOME"},
            "scratch: found '/scr/$HOME', expected no variables but $USER and $JOB_ID",
        ),
        (
            {"scratch": "/scr/$(id)"},
            "scratch: found '/scr/$(id)', expected no variables but $USER and $JOB_ID",
        ),
        (
            {"scratch": "/scr/$USERS"},
            "scratch: found '/scr/$USERS', expected no variables but $USER and $JOB_ID",
        ),
        (
            {"scratch": "/scr", "environment": {"TMPDIR": "/x"}},
            "scratch and environment.TMPDIR: give one of them",
        ),
    ],
)
def test_faults_of_a_profile_are_in_our_words(keys: Dict[str, Any], problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_site({**KITE, **keys}, "kite.yaml")
    assert str(caught.value) == (
        f"kite.yaml: {problem}\n-> correct the site profile (docs/sites.md)"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty, expected a mapping"),
        ("# nothing yet", "is empty, expected a mapping"),
        ("[1, 2]", "found a list, expected a mapping"),
        ("kite", "found 'kite', expected a mapping"),
    ],
)
def test_a_profile_that_is_no_mapping(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "kite.yaml"
    path.write_text(text)
    with pytest.raises(Trouble) as caught:
        load_site("kite", [tmp_path])
    assert str(caught.value) == f"{path}: {problem}\n-> correct the site profile (docs/sites.md)"


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({1: 2}, "[1]: is not a known key"),
        ({"max_nodes": float("nan")}, "max_nodes: found nan, expected a finite number"),
    ],
)
def test_odd_keys_and_numbers_of_a_profile(keys: Dict[Any, Any], problem: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse_site({**KITE, **keys}, "kite.yaml")
    assert caught.value.problems == [f"kite.yaml: {problem}"]
