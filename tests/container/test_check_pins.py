import json
import subprocess
import sys
from pathlib import Path

from container.check_pins import found_by


def check(project: Path, tmp_path: Path, *probes: dict) -> subprocess.CompletedProcess:
    lock = tmp_path / "lock.json"
    lock.write_text(json.dumps({"probes": probes}))
    program = project / "container/check_pins.py"
    command = [sys.executable, str(program), str(lock)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pins_that_hold(project: Path, tmp_path: Path) -> None:
    done = check(project, tmp_path, {"name": "One", "python": "found = 1", "expected": "1"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "pin  expected  found\nOne  1         1\n"


def test_every_pin_that_does_not_hold_is_named(project: Path, tmp_path: Path) -> None:
    done = check(
        project,
        tmp_path,
        {"name": "One", "python": "found = 1", "expected": "1"},
        {"name": "Two", "python": "found = 3", "expected": "2"},
        {"name": "Gone", "python": "import no_such_module", "expected": "1.0"},
    )
    assert done.returncode == 1
    assert done.stderr == (
        "pin differs: Two: expected 2, found 3\n"
        "pin differs: Gone: expected 1.0, found ModuleNotFoundError: "
        "No module named 'no_such_module'\n"
    )


def test_a_probe_that_finds_nothing_says_so() -> None:
    assert found_by("pass") == "KeyError: 'found'"
    assert found_by("def broken(:").startswith("SyntaxError: ")
