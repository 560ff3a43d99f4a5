import pytest

from configs.errors import BaseModelError
from tasks.models.hardware import (
    Gpu,
    Hardware,
    _cpu_prefers_bf16,
    choose_device,
    choose_precision,
    require_libraries_of,
    slots_per_device,
    threads_per_slot,
)

NEW_GPU = Gpu(name="new", memory_bytes=80 * 2**30, bf16=True)
OLD_GPU = Gpu(name="old", memory_bytes=16 * 2**30, bf16=False)


def machine(*, cores: int = 8, bf16: bool = False, gpus: tuple[Gpu, ...] = ()) -> Hardware:
    return Hardware(cores=cores, memory_bytes=24 * 2**30, bf16=bf16, gpus=gpus)


@pytest.mark.parametrize(
    ("hardware", "expected"),
    [
        (machine(bf16=True), "bf16"),
        (machine(bf16=False), "fp32"),
        (machine(bf16=False, gpus=(NEW_GPU,)), "bf16"),
        (machine(bf16=True, gpus=(OLD_GPU,)), "fp32"),
        (machine(bf16=True, gpus=(NEW_GPU, OLD_GPU)), "fp32"),
    ],
)
def test_auto_precision_is_bf16_only_where_every_device_that_may_run_has_it(hardware: Hardware, expected: str) -> None:
    assert choose_precision("auto", hardware) == expected


@pytest.mark.parametrize("requested", ["fp32", "bf16", "nf4"])
@pytest.mark.parametrize("hardware", [machine(bf16=True), machine(bf16=False)])
def test_a_requested_precision_is_kept(requested: str, hardware: Hardware) -> None:
    assert choose_precision(requested, hardware) == requested


def test_four_bits_without_their_library_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    require_libraries_of("bf16")
    with pytest.raises(BaseModelError, match=r"needs bitsandbytes.*install the extra `gpu`"):
        require_libraries_of("nf4")


def test_without_a_gpu_every_slot_runs_on_the_cpu() -> None:
    assert [choose_device(machine(), slot) for slot in range(3)] == ["cpu", "cpu", "cpu"]


def test_slots_are_dealt_over_the_gpus_in_turn() -> None:
    hardware = machine(gpus=(NEW_GPU, NEW_GPU))

    assert [choose_device(hardware, slot) for slot in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]


@pytest.mark.parametrize(("cores", "slots", "threads"), [(8, 1, 8), (8, 2, 4), (8, 3, 2), (2, 4, 1), (1, 1, 1)])
def test_slots_share_the_cores_and_each_has_at_least_one(cores: int, slots: int, threads: int) -> None:
    assert threads_per_slot(machine(cores=cores), slots) == threads


@pytest.mark.parametrize(("gpus", "slots", "sharing"), [(0, 3, 3), (1, 2, 2), (2, 2, 1), (2, 3, 2), (4, 1, 1)])
def test_slots_share_the_memory_of_a_device(gpus: int, slots: int, sharing: int) -> None:
    assert slots_per_device(machine(gpus=(NEW_GPU,) * gpus), slots) == sharing


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        ("processor : 0\nvendor_id : GenuineIntel\nflags\t\t: fpu avx512f avx512_bf16\n", False),
        ("processor : 0\nvendor_id : AuthenticAMD\nflags\t\t: fpu avx512f avx512_bf16\n", True),
        ("flags : fpu amx_bf16\n", True),
        ("Features : fp asimd bf16 i8mm\n", True),
        ("flags : fpu avx2 avx512f\n", False),
        ("model name : bf16 machine\nflags : fpu\n", False),
    ],
)
def test_bf16_is_chosen_only_where_it_is_faster_on_the_cpu(cpuinfo: str, expected: bool) -> None:
    assert _cpu_prefers_bf16(cpuinfo) is expected
