"""What an earlier job was writing when it was killed is gone when the next one is started."""

from __future__ import annotations

from pathlib import Path

from manifests.flows.start import sweep_run
from manifests.record.run_files import RunFiles


def test_what_a_killed_job_was_writing_is_removed(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.checkpoints.mkdir(parents=True)
    whole = [files.model, files.result, files.failure, files.job, files.manifest, files.exit_code]
    others = [tmp_path / ".plot.png.ab_d3f9h", tmp_path / ".model.npz.notes", tmp_path / ".x"]
    for path in (*whole, *others):
        path.write_bytes(b"x")
    for path in files.of_any_job:
        (path.parent / f".{path.name}.ab_d3f9h").write_bytes(b"half")
    sweep_run(files)
    left = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted([*whole, *others])
