"""What a hint says can be copied into a shell, whatever the names of folders are."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Iterator, List, Sequence, Set, Tuple

import pytest

from manifests.cli.command_line import called, host_context
from manifests.cli.interrupted import ended_by_interrupt
from manifests.record.run_files import RunFiles
from tests.manifests.cli.verbs.conftest import PROJECT, CommandLine

QUOTING = ("shell_word", "quoted")
#: Placeholders of hints that are never paths: names of stacks, numbers of steps and slices; and the
#: options of a hint, which its verb has put together.
NO_PATHS = {"stack", "recipe.stack", "work.stack", "image.stack", "held[0]", "held[1]"}
NO_PATHS |= {"plan.record.of", "at", "part.begin", "part.end"}


def _is_word(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in QUOTING


def _words(tree: ast.AST) -> Set[str]:
    """Names that hold words of a shell."""
    return {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _is_word(node.value)
        for target in node.targets
    }


def _unquoted(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    words = _words(tree) | NO_PATHS
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        hint = False
        for part in node.values:
            if isinstance(part, ast.Constant):
                hint = hint or "python bundle.py" in str(part.value)
            elif not isinstance(part, ast.FormattedValue) or _is_word(part.value):
                continue
            elif hint and ast.unparse(part.value) not in words:
                yield f"{path.relative_to(PROJECT)}:{part.lineno}: {ast.unparse(part.value)}"


def test_paths_in_hints_are_words_of_a_shell() -> None:
    sources = [p for part in ("container", "jobtemplates", "manifests") for p in
               sorted((PROJECT / part).rglob("*.py"))]  # fmt: skip
    assert len(sources) > 100
    assert [text for path in sources for text in _unquoted(path)] == []


@pytest.mark.parametrize("name", ["a b.yaml", "-dash.yaml"])
def test_the_hint_of_init_names_its_file(bundle: CommandLine, name: str) -> None:
    printed = bundle("init", "--site", "local", "--stack", "cpu", "--", name).stdout
    words = shlex.split(printed.splitlines()[-1].rpartition("--dry-run ")[2])
    assert len(words) == 1
    assert not words[0].startswith("-")
    assert (bundle.folder / words[0]).is_file()


def test_the_next_step_of_a_verdict_names_the_program_as_it_was_called(
    bundle: CommandLine, finished_run: RunFiles
) -> None:
    finished_run.done.unlink()
    bundle.environment["BUNDLE_CALLED"] = "bundle"
    run = finished_run.root.rename(finished_run.root.with_name("a b"))
    last = bundle("rerun", run, code=2).stdout.splitlines()[-1]
    assert last.startswith("-> ")
    assert "python bundle.py" not in last
    assert last.endswith(f"'{run}'")
    assert ": bundle " in last


def test_the_next_step_of_a_failed_run_names_the_program_as_it_was_called(
    bundle: CommandLine, finished_run: RunFiles
) -> None:
    finished_run.done.unlink()
    finished_run.exit_code.write_text("1\n")
    finished_run.checkpoints.mkdir(exist_ok=True)
    (finished_run.checkpoints / "step-000000004.npz").write_bytes(b"")
    bundle.environment["BUNDLE_CALLED"] = "python3 ../bundle.py"
    shown = bundle("show", finished_run.root).stdout
    step = f"-> after fixing the cause: python3 ../bundle.py resume {finished_run.root}"
    assert f"           {step}\n" in shown
    assert "python bundle.py" not in shown


def test_doctor_names_the_program_as_it_was_called(bundle: CommandLine) -> None:
    bundle.environment["BUNDLE_CALLED"] = "python3 ../bundle.py"
    shown = bundle("doctor", "--stack", "cpu", code=2).stdout
    assert "-> run: python3 ../bundle.py build --stack cpu\n" in shown
    assert "python bundle.py" not in shown


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["cancel", ""], "RUN"),
        (["clean", ""], "RUNS"),
        (["submit", "c.yaml", "--out", ""], "--out"),
    ],
)
def test_an_empty_path_is_not_this_folder(
    bundle: CommandLine, finished_run: RunFiles, words: list[str], name: str
) -> None:
    bundle.folder = finished_run.root
    files = sorted(finished_run.root.rglob("*"))
    bundle.environment["BUNDLE_CACHE"] = str(finished_run.root.parent.parent / "cache")
    assert bundle(*words, code=2).stderr == f"bundle: {name}: is empty\n-> give a path\n"
    assert sorted(finished_run.root.rglob("*")) == files


def test_list_of_a_run_says_that_it_is_one(bundle: CommandLine, finished_run: RunFiles) -> None:
    run = finished_run.root
    assert bundle("list", run, code=2).stderr == (
        f"bundle: {run}: is a run directory, not a folder of runs\n"
        f"-> see this run: python bundle.py show {run}; and all beside it: "
        f"python bundle.py list {run.parent}\n"
    )


def test_a_tag_that_is_not_there(bundle: CommandLine, finished_run: RunFiles) -> None:
    bundle("note", finished_run.root, "--tag", "kept", "--tag", "b")
    assert bundle("note", finished_run.root, "--untag", "c", code=2).stderr == (
        "bundle: --untag: the run has no tag 'c'\n-> nothing was written; its tags: kept, b\n"
    )


def test_ctrl_c_of_a_job_that_is_waited_for_names_the_next_step(
    finished_run: RunFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ended(runs: Sequence[RunFiles], *_arguments: object) -> Tuple[int, List[object]]:
        return len(runs), []

    monkeypatch.setattr("manifests.flows.started_jobs.end_jobs", ended)
    files = RunFiles(finished_run.root.rename(finished_run.root.with_name("a b")))
    files.job.touch()
    with pytest.raises(SystemExit) as caught:
        ended_by_interrupt(KeyboardInterrupt(), [files], host_context())
    assert caught.value.code == 130
    assert capsys.readouterr().err == called(
        f"bundle: interrupted: the job was cancelled; its run stays in {files.root}\n"
        f"-> to go on: python bundle.py resume '{files.root}'\n"
    )
