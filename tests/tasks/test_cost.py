"""What cost measures: repeats, intervals, bytes; and that what is timed is what it says."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sae_lens.saes.topk_sae import TopKSAE, TopKSAEConfig
from transformers import PreTrainedModel

from saetransfer.tasks.cost import energy, workloads
from saetransfer.tasks.cost.figure import CostFigure, per_second, speedup
from saetransfer.tasks.cost.size import bytes_on_disk
from saetransfer.tasks.cost.task import Cost, CostSettings
from saetransfer.tasks.cost.timing import Patience, Timing, Work, in_turns, median_interval
from tests.toys import toy_config, toy_model

CPU = torch.device("cpu")
SMALL = CostSettings(batch_sizes=(1, 2), prompt_tokens=12, new_tokens=3, sae_tokens=64, repeats=6, seconds=0.03)


def test_there_are_as_many_repeats_as_asked_for_and_at_least_as_many_seconds() -> None:
    found = in_turns({"nap": Work(lambda _: time.sleep(0.001))}, Patience(repeats=7, seconds=0.05), CPU)["nap"]
    assert isinstance(found, Timing)
    assert len(found.repeats) == len(found.seconds) == 7
    assert sum(found.calls) >= 0.05
    assert min(found.calls) >= 0.001


def test_what_is_prepared_is_not_timed_and_is_given_to_every_call() -> None:
    given: list[int] = []

    def prepare() -> int:
        time.sleep(0.003)
        return 5

    found = in_turns({"quick": Work(given.append, prepare)}, Patience(repeats=2, seconds=1e-9), CPU)["quick"]
    assert isinstance(found, Timing)
    assert max(found.calls) < 0.003
    assert set(given) == {5}


def test_works_take_turns() -> None:
    order: list[str] = []
    works = {name: Work(lambda _, name=name: order.append(name)) for name in "ab"}
    in_turns(works, Patience(repeats=3, seconds=1e-9, warm_ups=0), CPU)
    # In each turn one call that brings the caches back, and one that counts.
    assert order == ["a", "a", "b", "b"] * 3


def test_what_does_not_fit_into_memory_has_a_reason_and_the_rest_is_timed() -> None:
    def too_large(_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 TiB.\nmore")

    found = in_turns({"large": Work(too_large), "small": Work(lambda _: None)}, Patience(2, 1e-9), CPU)
    assert found["large"] == "out of GPU memory: CUDA out of memory. Tried to allocate 2 TiB."
    assert isinstance(found["small"], Timing)


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    assert median_interval(range(5)) is None
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)
    assert median_interval([float(value) for value in range(10)]) == (1.0, 8.0)
    draws = np.random.default_rng(0).exponential(size=(2000, 10))
    held = np.mean([low <= np.log(2) <= high for low, high in map(median_interval, draws.tolist())])
    assert held == pytest.approx(0.979, abs=0.01)


def test_tokens_in_a_second_are_the_tokens_over_the_seconds_of_a_call() -> None:
    timing = Timing(tuple((seconds, 3 * seconds, seconds) for seconds in (0.1, 0.2, 0.4, 0.2, 0.2, 0.1, 0.3)))
    found = per_second(timing, 10)
    assert found.repeats == tuple(float(f"{10 / seconds:.6g}") for seconds in timing.repeats)
    assert found.value == pytest.approx(10 / np.median(timing.repeats))
    assert found.n == 21


def test_a_speedup_over_itself_is_1_and_twice_the_speed_is_2() -> None:
    speeds = (90.0, 95.0, 100.0, 105.0, 110.0, 100.0)
    own = CostFigure(200.0, ci=(180.0, 220.0), repeats=tuple(2 * speed for speed in speeds))
    found = speedup(own, speeds)
    assert found.value == 2.0
    assert found.ci == (180.0 / 110.0, 220.0 / 90.0)
    assert speedup(CostFigure(100.0, ci=(90.0, 110.0)), speeds).value == 1.0


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_decoding_with_a_cache_reads_what_the_model_would_generate_without(family: str) -> None:
    model = toy_model(family)
    read: list[int] = []

    def note(_module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        read.append(int(kwargs["input_ids"][0, -1]))

    decoding = workloads.decode(model, prompt_tokens=6, new_tokens=4)
    head = model.get_output_embeddings()
    assert head is not None
    with torch.no_grad():
        handle = model.base_model.register_forward_pre_hook(note, with_kwargs=True)
        decoding.run(decoding.prepare())
        handle.remove()
        tokens = torch.randint(model.config.vocab_size, (1, 6), generator=torch.Generator().manual_seed(0))
        for _ in range(4):
            hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
            tokens = torch.cat([tokens, head(hidden[:, -1:]).argmax(dim=-1)], dim=1)
    assert read == tokens[0, 5:].tolist()


def test_a_state_has_all_its_speeds_and_they_agree_with_its_latency() -> None:
    task = Cost(SMALL)
    figures, details = task.time_state(toy_model("llama"))
    single = figures["cost.prefill_tokens_per_second_b1"]
    latency = figures["cost.latency_ms_p50"]
    assert all(
        figure.value is not None and figure.value > 0 for name, figure in figures.items() if "joules" not in name
    )
    assert single.repeats == pytest.approx([12_000 / milliseconds for milliseconds in latency.repeats], rel=1e-4)
    assert figures["cost.latency_ms_p95"].value >= min(latency.repeats)  # type: ignore[operator]
    assert details["calls"]["prefill_b2"]["n"] >= 6
    assert figures["cost.prefill_joules_per_token"].reason == energy.NO_GPU


def test_two_states_that_are_one_have_a_speedup_of_about_1() -> None:
    task = Cost(SMALL)
    figures, _ = task.time_state(toy_model("llama"))
    found = task.speedups(figures, {name: figure.repeats for name, figure in figures.items()})
    assert [found[f"cost.prefill_speedup_b{size}"].value for size in (1, 2)] == pytest.approx([1.0, 1.0], rel=1e-4)
    assert set(task.speedups(figures, "other hardware").values()) == {CostFigure(None, "other hardware")}


def test_a_prompt_that_does_not_fit_the_model_has_a_reason_in_the_place_of_every_speed() -> None:
    task = Cost(SMALL.model_copy(update={"prompt_tokens": 63}))
    figures, _ = task.time_state(toy_model("llama"))
    assert {figure.value for figure in figures.values()} == {None}
    assert all("do not fit the model's 64 positions" in (figure.reason or "") for figure in figures.values())


def test_saes_are_timed_by_name() -> None:
    sae = TopKSAE(TopKSAEConfig(d_in=32, d_sae=64, k=8))
    found = Cost(SMALL).time_saes({"one": sae, "other": sae})
    assert all(figure.value is not None and figure.value > 0 for figure in found.values())
    assert list(found) == ["one", "other"]
    assert Cost(SMALL).time_saes({}) == {}


def model_of(**changes: Any) -> PreTrainedModel:
    config = toy_config("llama")
    for name, value in changes.items():
        setattr(config, name, value)
    return toy_model("llama").__class__(config).eval()


def test_bytes_on_disk_double_with_the_layers_halve_with_the_dtype_and_count_tied_weights_once() -> None:
    def of_layers(n: int) -> int:
        return bytes_on_disk(model_of(num_hidden_layers=n, hidden_size=128, intermediate_size=256))

    # What a layer adds, without the embeddings and what the format takes for each tensor.
    assert of_layers(5) - of_layers(3) == pytest.approx(2 * (of_layers(4) - of_layers(3)), rel=0.01)
    wide = model_of(hidden_size=128, intermediate_size=512)
    whole, held = bytes_on_disk(wide), sum(parameter.nbytes for parameter in wide.parameters())
    assert whole == pytest.approx(held, rel=0.02)
    assert bytes_on_disk(wide.half()) == pytest.approx(whole / 2, rel=0.02)
    tied = model_of(tie_word_embeddings=True, vocab_size=4096)
    assert bytes_on_disk(tied) < 1.2 * 4096 * 32 * 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_sizes": (8, 32)}, "must name 1"),
        ({"batch_sizes": (1, 8, 8)}, "once"),
        ({"seconds": 0}, "greater than 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CostSettings(**settings)


def test_patience_is_no_part_of_what_is_timed() -> None:
    patient = Cost(SMALL.model_copy(update={"repeats": 20, "seconds": 9.0}))
    assert patient.workload == Cost(SMALL).workload
    assert Cost(SMALL.model_copy(update={"new_tokens": 4})).workload != Cost(SMALL).workload


def fake_nvml(read: Callable[[], int]) -> SimpleNamespace:
    class NVMLError(Exception):
        pass

    def consumption(handle: str) -> int:
        if handle != "GPU-abc":
            raise NVMLError("not found")
        return read()

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )


def test_energy_is_that_of_a_call_by_the_counter_of_the_right_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    used_millijoules = [0]

    def run(_: Any) -> None:
        used_millijoules[0] += 2500

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(lambda: used_millijoules[0]))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    for uuid, expected in (("abc", 2.5), ("xyz", "NVML does not tell the energy of this GPU: not found")):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, uuid=uuid: SimpleNamespace(uuid=uuid))
        assert energy.joules_per_call(Work(run), 0.001, torch.device("cuda")) == expected
