"""Knobs, CPU, manifest and inputs are checked before anything is trained."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from manifests.record.communicators import COMMUNICATOR_KINDS
from manifests.record.keys import (
    Arch,
    Communicator,
    Iterator,
    LoadType,
    OptimizerName,
    Precision,
    values_of,
)
from manifests.record.schema import CodeIdentity, Determinism, Promises
from trainer import contract
from trainer.communicators import COMMUNICATORS
from trainer.device import PRECISIONS
from trainer.inputs import SUBMIT_AGAIN, check_inputs, read_manifest
from trainer.iterators import ITERATORS
from trainer.loadtypes import LOADTYPES
from trainer.machine import OpenBlas, loaded_openblas, numpy_features, parse_cpuinfo
from trainer.models import MODELS
from trainer.optimizers import OPTIMIZERS
from trainer.ranks import impossible_processes, wrong_size
from trainer.trouble import TrainerError


def test_registries_are_what_the_host_believes() -> None:
    registries: dict[Any, Any] = {
        Arch: MODELS,
        Communicator: COMMUNICATORS,
        Iterator: ITERATORS,
        LoadType: LOADTYPES,
        OptimizerName: OPTIMIZERS,
        Precision: PRECISIONS,
    }
    for key_type, registry in registries.items():
        assert set(registry) == set(values_of(key_type))
    assert set(COMMUNICATOR_KINDS) == set(COMMUNICATORS)


def test_environment_names_every_wrong_setting() -> None:
    knobs = Determinism(environment={"A": "1", "B": "x y", "C": "3"}, mca={"coll": "basic"})
    contract.check_environment(knobs, {"A": "1", "B": "x y", "C": "3", "OMPI_MCA_coll": "basic"})
    with pytest.raises(TrainerError) as caught:
        contract.check_environment(knobs, {"A": "1", "B": "x"})
    assert str(caught.value) == (
        "settings that decide bits are not set: B is 'x', expected 'x y'; "
        "C is unset, expected '3'; OMPI_MCA_coll is unset, expected 'basic'\n"
        "-> start the run by its job.sh, which sets them"
    )


def test_cpu_without_a_promised_feature() -> None:
    promises = Promises(cpu_features=["avx2", "fma"])
    contract.check_cpu(promises, "x86_64", {"avx2", "fma", "sse2"})
    with pytest.raises(TrainerError) as caught:
        contract.check_cpu(promises, "x86_64", {"fma"})
    assert str(caught.value) == (
        "this CPU lacks avx2, without which the bits would differ\n"
        "-> run it on a CPU that has them (Intel since Haswell, AMD since Zen)"
    )


def test_other_architecture() -> None:
    with pytest.raises(TrainerError) as caught:
        contract.check_cpu(Promises(), "aarch64", set())
    assert str(caught.value) == (
        "this machine is aarch64, the run was made for x86_64\n-> run it on a x86_64 machine"
    )


def test_libraries_that_did_not_listen() -> None:
    told = {
        "OPENBLAS_CORETYPE": "Haswell",
        "OPENBLAS_NUM_THREADS": "1",
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512_SKX",
    }
    contract.check_effect(told, OpenBlas("", "Haswell", 1), {"AVX2": True, "AVX512F": False})
    with pytest.raises(TrainerError) as caught:
        contract.check_effect(told, OpenBlas("", "Zen", 2), {"AVX512F": True})
    assert str(caught.value) == (
        "OpenBLAS uses kernels for Zen, expected Haswell; OpenBLAS uses 2 threads, expected 1; "
        "NumPy uses AVX512F, which it was told to leave out\n"
        "-> use the image's own NumPy, and start the run by its job.sh"
    )
    with pytest.raises(TrainerError) as caught:
        contract.check_effect({"OPENBLAS_CORETYPE": "Haswell"}, None, {})
    assert caught.value.message == "OpenBLAS uses kernels for no CPU, expected Haswell"


def test_what_libraries_say_of_themselves() -> None:
    blas = loaded_openblas()
    assert blas is not None
    assert blas.config.startswith("OpenBLAS 0.3.")
    assert blas.threads >= 1
    assert "AVX512F" in numpy_features()


def test_cpuinfo_is_that_of_the_first_processor() -> None:
    cpu = parse_cpuinfo("processor\t: 0\nmodel name\t: One\nflags\t\t: fma avx2\n\nmodel name: Two")
    assert cpu == ("One", {"fma", "avx2"})
    assert parse_cpuinfo("") == ("unknown", frozenset())


def test_wrong_number_of_ranks() -> None:
    assert wrong_size(3, 2, 2) == (
        "MPI gives 3 ranks, the run was made for 2",
        "start the job script as it is (`mpirun -np 2`)",
    )
    assert wrong_size(1, 2, 2) == (
        "MPI gives 1 rank, the run was made for 2: this process did not find the launcher",
        "use the Open MPI of the same family as the image's on the host, and do not start the "
        "container with --cleanenv or --containall",
    )
    assert wrong_size(4, 2, 8) == (
        "MPI gives 4 processes, the job was made for 2 (of a run of 8 ranks)",
        "start the job script as it is (`mpirun -np 2`)",
    )


@pytest.mark.parametrize(
    ("processes", "shown"), [(0, "0 processes"), (-1, "-1 processes"), (3, "3 processes")]
)
def test_impossible_numbers_of_processes(processes: int, shown: str) -> None:
    assert impossible_processes(processes, 2) == (
        f"2 ranks cannot be computed by {shown}",
        "start the job with 1 to 2 processes",
    )


def refusal(case: Any) -> str:
    with pytest.raises(TrainerError) as caught:
        check_inputs(case.files, read_manifest(case.files).identity.data)
    assert caught.value.next_step == SUBMIT_AGAIN
    return caught.value.message


def test_sound_run_directory(make_case: Any) -> None:
    case = make_case()
    check_inputs(case.files, read_manifest(case.files).identity.data)


def test_no_manifest(make_case: Any) -> None:
    case = make_case()
    case.files.manifest.unlink()
    with pytest.raises(TrainerError) as caught:
        read_manifest(case.files)
    assert str(caught.value) == (
        f"{case.files.manifest}: cannot be read: No such file or directory\n"
        "-> give the run directory with --run"
    )


def edit(path: Path, change: Any) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_manifest_of_a_newer_major_version(make_case: Any) -> None:
    case = make_case()
    case.files.manifest.write_text('{"version": "2.0", "everything": "else"}')
    with pytest.raises(TrainerError) as caught:
        read_manifest(case.files)
    assert str(caught.value) == (
        f"{case.files.manifest}: version 2.0 is not known: this bundle reads version 1.x\n"
        "-> use the trainer of the run's own code/"
    )


def test_manifest_that_is_not_json(make_case: Any) -> None:
    case = make_case()
    case.files.manifest.write_text("{")
    message = refusal(case)
    assert message.startswith(f"{case.files.manifest}: the file: Invalid JSON")


def test_manifest_with_a_wrong_value(make_case: Any) -> None:
    case = make_case()
    edit(case.files.manifest, lambda m: m["identity"]["training"].update(epochs=0))
    assert refusal(case) == (
        f"{case.files.manifest}: identity.training.epochs: "
        "Input should be greater than or equal to 1"
    )


def test_altered_identity(make_case: Any) -> None:
    case = make_case()
    old = case.manifest["identity_digest"]
    edit(case.files.manifest, lambda m: m["identity"]["training"].update(seed=8))
    case.manifest["identity"]["training"]["seed"] = 8
    from manifests.record.schema import Identity

    new = Identity.model_validate(json.loads(case.files.manifest.read_text())["identity"]).digest()
    assert refusal(case) == (
        f"{case.files.manifest}: identity was altered: its digest is {new}, "
        f"identity_digest says {old}"
    )


def test_altered_table(make_case: Any) -> None:
    from hashlib import sha256

    case = make_case()
    table = case.files.val_table
    old = sha256(table.read_bytes()).hexdigest()
    table.write_text(table.read_text().replace("\t1\t", "\t2\t"))
    new = sha256(table.read_bytes()).hexdigest()
    assert refusal(case) == (f"{table}: was altered: sha256 {new}, expected {old}")


def test_missing_mean(make_case: Any) -> None:
    case = make_case()
    case.files.mean.unlink()
    assert refusal(case) == f"{case.files.mean}: cannot be read: No such file or directory"


def test_wrong_number_of_samples(make_case: Any) -> None:
    case = make_case()
    data = read_manifest(case.files).identity.data
    fewer = data.model_copy(update={"train": data.train.model_copy(update={"samples": 9})})
    with pytest.raises(TrainerError) as caught:
        check_inputs(case.files, fewer)
    assert caught.value.message == (
        f"{case.files.train_table}: has 10 lines, the manifest says 9 samples"
    )


def test_mean_of_another_kind(make_case: Any) -> None:
    case = make_case()
    data = read_manifest(case.files).identity.data
    other = data.model_copy(update={"mean": data.mean.model_copy(update={"shape": [3, 224, 224]})})
    with pytest.raises(TrainerError) as caught:
        check_inputs(case.files, other)
    assert str(caught.value) == (
        f"{case.files.mean}: holds float32 [3, 224, 224], expected float32 [3, 256, 256]\n"
        "-> make the mean image from the training set's 256x256 images"
    )


def test_foreign_code_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("own")
    (tmp_path / "b.py").write_text("foreign")
    digest = hashlib.sha256(b"own").hexdigest()
    files = {name: {"sha256": digest, "size": 3} for name in ("a.py", "b.py", "c.py")}
    code = CodeIdentity.model_validate({"digest": "0" * 64, "files": files})
    with pytest.raises(TrainerError) as caught:
        contract.check_code(code, tmp_path)
    assert caught.value.message == (
        "the code in the container is not the run's snapshot: b.py, c.py"
    )
    only = CodeIdentity.model_validate({"digest": "0" * 64, "files": {"a.py": files["a.py"]}})
    contract.check_code(only, tmp_path)


def test_code_imported_by_name_is_refused(tmp_path: Path) -> None:
    files = {"trainer/a.py": {"sha256": "0" * 64, "size": 3}}
    code = CodeIdentity.model_validate({"digest": "0" * 64, "files": files})
    modules = {name: ModuleType(name) for name in ("a", "b", "c", "sys")}
    modules["a"].__file__ = str(tmp_path / "trainer" / "a.py")
    modules["c"].__file__ = "/usr/lib/python3/c.py"
    contract.check_imported(code, tmp_path, modules)
    modules["b"].__file__ = str(tmp_path / "mine" / "b.py")
    with pytest.raises(TrainerError) as caught:
        contract.check_imported(code, tmp_path, modules)
    assert str(caught.value) == (
        "the ranks import code that is not in the run's identity: mine/b.py\n"
        "-> write an import statement for it, or put it below trainer/; then submit again"
    )
