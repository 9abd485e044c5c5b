import json
import subprocess
from pathlib import Path

import pytest

from container.tree import finish_tree, labels_of, section

DEFINITION = """\
Bootstrap: scratch

%labels
    org.example.title  a title
    org.example.empty

%environment
    export A=1
    if true; then
        export B=2
    fi

%runscript
    exec echo "$@"

%test
    exit 3
"""


def listing(tree: Path) -> dict[str, object]:
    entries: dict[str, object] = {}
    for path in sorted(tree.rglob("*")):
        name = str(path.relative_to(tree))
        mode = oct(path.lstat().st_mode)
        entries[name] = (mode, path.read_bytes() if path.is_file() else None)
    return entries


def test_sections_lose_their_indentation_only() -> None:
    text = section(DEFINITION, "environment")
    assert text == "export A=1\nif true; then\n    export B=2\nfi\n"
    assert section(DEFINITION, "startscript") == "\n"


def test_labels_are_pairs() -> None:
    assert labels_of(DEFINITION) == {"org.example.title": "a title", "org.example.empty": ""}


def test_what_the_builder_left_does_not_show(tmp_path: Path) -> None:
    """Two trees, one as an old and one as a new Singularity might leave it."""
    plain, cluttered = tmp_path / "plain", tmp_path / "cluttered"
    plain.mkdir()
    (cluttered / ".singularity.d/env").mkdir(parents=True)
    (cluttered / ".singularity.d/env/94-appsbase.sh").write_text("# version 9\n")
    (cluttered / ".singularity.d/labels.json").write_text('{"build-date": "today"}')
    (cluttered / ".run").symlink_to(".singularity.d/actions/run")
    (cluttered / "singularity").symlink_to(".singularity.d/runscript")
    (cluttered / "etc").mkdir()
    (cluttered / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    (cluttered / "etc/hosts").symlink_to("/etc/hosts")
    (cluttered / "dev/pts").mkdir(parents=True, mode=0o700)
    (cluttered / "tmp").mkdir(mode=0o700)
    (cluttered / "tmp/left").write_text("over")
    for tree in (plain, cluttered):
        (tree / "etc").mkdir(exist_ok=True)
        finish_tree(tree, DEFINITION, {"b": "2", "a": "1"})
    assert listing(plain) == listing(cluttered)
    assert json.loads((plain / ".singularity.d/labels.json").read_text()) == {"a": "1", "b": "2"}
    assert (plain / ".singularity.d/Singularity").read_text() == DEFINITION


@pytest.mark.parametrize("name", ["runscript", "test", "env/90-environment.sh", "env/99-base.sh"])
def test_scripts_are_good_shell(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    finish_tree(tmp_path, DEFINITION, {})
    subprocess.run(["sh", "-n", str(tmp_path / ".singularity.d" / name)], check=True)


def test_the_driver_s_libraries_are_found(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    finish_tree(tmp_path, DEFINITION, {})
    script = tmp_path / ".singularity.d/env/99-base.sh"
    command = f'. "{script}"; printf %s "$LD_LIBRARY_PATH"'
    for before, after in ({}, "/.singularity.d/libs"), ({"LD_LIBRARY_PATH": "/a"}, None):
        done = subprocess.run(["sh", "-c", command], env=before, capture_output=True, text=True)
        assert done.stdout == (after or "/a:/.singularity.d/libs")
