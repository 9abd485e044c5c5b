"""The knobs of each stack and the promises that rest on them."""

from __future__ import annotations

import pytest

from manifests.config.determinism import ENVIRONMENT, KNOBS, MCA, determinism_for, promises_for
from manifests.record.schema import Determinism, GpuPromise, Promises


def test_cpu() -> None:
    assert determinism_for("cpu") == Determinism(
        environment={
            "OPENBLAS_CORETYPE": "Haswell",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "NPY_DISABLE_CPU_FEATURES": (
                "AVX512F AVX512CD AVX512_KNL AVX512_KNM AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL"
            ),
            "PYTHONHASHSEED": "0",
        },
        mca={
            "coll": "basic,libnbc,self,inter,tuned",
            "coll_tuned_use_dynamic_rules": "1",
            "coll_tuned_allreduce_algorithm": "3",
        },
    )
    assert promises_for("cpu") == Promises(
        level="bitwise", cpu_features=["avx2", "fma"], architecture="x86_64"
    )


def test_cuda12_has_the_knobs_of_the_cpu_and_its_own() -> None:
    cpu, cuda12 = determinism_for("cpu"), determinism_for("cuda12")
    assert cuda12.mca == cpu.mca
    assert cuda12.environment == {
        **cpu.environment,
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "NVIDIA_TF32_OVERRIDE": "0",
        "CUPY_TF32": "0",
        "CUPY_CACHE_IN_MEMORY": "1",
        "CUPY_SEED": "0",
        "CHAINER_SEED": "0",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "NCCL_ALGO": "Ring",
        "NCCL_PROTO": "Simple",
        "NCCL_NVLS_ENABLE": "0",
    }
    assert promises_for("cuda12") == Promises(
        level="bitwise",
        cpu_features=["avx2", "fma"],
        architecture="x86_64",
        gpu=GpuPromise(
            driver="525.60.13",
            capabilities=["6.0", "6.1", "7.0", "7.5", "8.0", "8.6", "8.9", "9.0"],
        ),
    )


@pytest.mark.parametrize("stack", sorted(KNOBS))
def test_every_knob_has_a_reason_and_a_source(stack: str) -> None:
    names = [(knob.kind, knob.name) for knob in KNOBS[stack]]
    assert len(set(names)) == len(names)
    for knob in KNOBS[stack]:
        assert knob.kind in (ENVIRONMENT, MCA)
        assert knob.value and knob.reason and knob.source


@pytest.mark.parametrize("stack", sorted(KNOBS))
def test_values_survive_a_shell_and_a_container_unchanged(stack: str) -> None:
    determinism = determinism_for(stack)
    for value in [*determinism.environment.values(), *determinism.mca.values()]:
        assert value == " ".join(value.split())
        assert not set(value) & set("\"'\\$`\n")


def test_unknown_stack() -> None:
    with pytest.raises(KeyError, match="abacus"):
        determinism_for("abacus")
    with pytest.raises(KeyError, match="abacus"):
        promises_for("abacus")
