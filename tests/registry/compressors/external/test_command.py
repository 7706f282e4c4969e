"""Any tool as a compressor: what it is given, what becomes of it, and everything that it can do wrong."""

from __future__ import annotations

import copy
import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from saetransfer.registry.calibration import Calibration
from saetransfer.registry.compressors.external.process import CommandFailed
from saetransfer.registry.compressors.method import compress
from saetransfer.registry.errors import Impossible, RegistryError
from tests.registry.compressors.common import FAMILIES, calibration, compressor, verified, weights, wide_toy
from tests.registry.compressors.external.common import HALVE, calibration_with_text, prune_half

HANG = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path("child.pid").write_text(str(child.pid))
print("waiting", flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The suite's folder; whatever is left in the folder for temporary files afterwards is a fault."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    return tmp_path


def definition(*arguments: str, **more: Any) -> dict[str, Any]:
    return {"name": "tool", "method": "command", "command": [sys.executable, *arguments], **more}


def script(folder: Path, text: str, **more: Any) -> dict[str, Any]:
    (folder / "tool.py").write_text(text)
    return definition("tool.py", "{model}", "{out}", "{calibration}", **more)


def run(folder: Path, chosen: dict[str, Any], text: Calibration | None = None) -> Any:
    return compress(wide_toy("llama"), compressor(chosen, folder), text or calibration())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_command_leaves_is_the_state(family: str, dtype: torch.dtype, folder: Path) -> None:
    model = wide_toy(family, dtype)
    result, realised = verified(model, compressor(script(folder, HALVE), folder))
    assert realised.sparsity == pytest.approx(0.5, abs=0.01)
    dense = weights(model)
    for name, weight in weights(result).items():
        assert torch.equal(weight[weight != 0], dense[name][weight != 0])
    assert not any((folder / "scratch").iterdir())


def test_the_command_is_given_the_model_the_tokenizer_and_the_sequences(folder: Path) -> None:
    text = calibration_with_text()
    keep = "import shutil, sys\nshutil.copytree(sys.argv[1], 'seen')\nshutil.copy(sys.argv[3], 'seen')\n" + HALVE
    run(folder, script(folder, keep), text)
    seen = folder / "seen"
    read = AutoModelForCausalLM.from_pretrained(seen)
    assert all(torch.equal(value, weights(wide_toy("llama"))[name]) for name, value in weights(read).items())
    assert (seen / "tokenizer.json").is_file()
    lines = [json.loads(line) for line in (seen / "calibration.jsonl").read_text().splitlines()]
    assert [line["input_ids"] for line in lines] == [window.tolist() for window in text.windows]
    assert text.tokenizer is not None
    again = [text.tokenizer(line["text"], add_special_tokens=False)["input_ids"] for line in lines]
    assert again == [line["input_ids"][1:] for line in lines], "the text is that of the tokens, without BOS"


def test_without_a_tokenizer_there_is_no_text(folder: Path) -> None:
    keep = "import shutil, sys\nshutil.copy(sys.argv[3], 'seen.jsonl')\n" + HALVE
    run(folder, script(folder, keep))
    assert all(json.loads(line)["text"] is None for line in (folder / "seen.jsonl").read_text().splitlines())


def test_output_is_passed_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, script(folder, HALVE))
    assert "halved" in capsys.readouterr().out


def test_standard_input_is_closed_and_no_shell_is_there(folder: Path) -> None:
    ask = "import sys\nassert sys.stdin.read() == ''\nassert sys.argv[4] == '$HOME; echo *', sys.argv\n" + HALVE
    chosen = script(folder, ask)
    chosen["command"].append("$HOME; echo *")
    run(folder, chosen)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print('all is lost'); raise SystemExit(3)", "exit code 3.*\n.*all is lost"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137. It said nothing"),
        ("print('well')", "left {out} empty.*\n.*well"),
        (
            "import sys; open(sys.argv[2] + '/model.safetensors', 'w')",
            "cannot be used. Checkpoint: {out} holds no config",
        ),
        (
            "import shutil, sys; shutil.copy(sys.argv[1] + '/config.json', sys.argv[2])\n"
            "open(sys.argv[2] + '/model.safetensors', 'w').write('garbage' * 99)",
            "no whole safetensors",
        ),
        (
            HALVE.replace('"config.json", out)', '"config.json", out)\n(out / "config.json").write_text("{")'),
            "no complete JSON",
        ),
        (
            HALVE + 'settings = json.loads((out / "config.json").read_text())\n'
            'settings["vocab_size"] = 5\n(out / "config.json").write_text(json.dumps(settings))',
            "vocabulary 5 instead of 96",
        ),
    ],
    ids=["fails", "dies", "leaves nothing", "no config", "garbage", "garbled config", "another model"],
)
def test_what_goes_wrong_is_told_with_the_last_lines(text: str, message: str, folder: Path) -> None:
    with pytest.raises(CommandFailed, match=message):
        run(folder, script(folder, text))
    assert not any((folder / "scratch").iterdir())


def test_a_result_that_only_a_missing_library_reads_is_impossible(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "gptqmodel" else find_spec(name, *rest)
    )
    packed = HALVE + (
        'settings = json.loads((out / "config.json").read_text())\n'
        'settings["quantization_config"] = {"quant_method": "gptq", "bits": 4}\n'
        '(out / "config.json").write_text(json.dumps(settings))'
    )
    with pytest.raises(Impossible, match="pip install gptqmodel optimum"):
        run(folder, script(folder, packed))


def test_a_missing_program_is_told(folder: Path) -> None:
    chosen = {"name": "tool", "method": "command", "command": ["no-such-program", "{model}", "{out}"]}
    with pytest.raises(CommandFailed, match="no program 'no-such-program'"):
        run(folder, chosen)


def test_a_command_that_hangs_is_ended_with_its_children(folder: Path) -> None:
    start = time.monotonic()
    with pytest.raises(CommandFailed, match="took more than 1 s and was ended. Its last lines:\nwaiting"):
        run(folder, script(folder, HANG, timeout_seconds=1))
    assert time.monotonic() - start < 20
    assert gone(int((folder / "child.pid").read_text()))
    assert not any((folder / "scratch").iterdir())


def test_children_that_a_command_leaves_behind_are_ended(folder: Path) -> None:
    leave = HANG.replace("time.sleep(600)\n", "", -1).replace('print("waiting", flush=True)\n', "")
    assert "Popen" in leave
    run(folder, script(folder, leave + HALVE))
    assert gone(int((folder / "child.pid").read_text()))


def test_a_command_dies_with_the_process_that_started_it(folder: Path) -> None:
    (folder / "tool.py").write_text(HANG)
    starter = (
        "from pathlib import Path; import sys\n"
        "from saetransfer.registry.compressors.external import process\n"
        f"process.run([sys.executable, 'tool.py'], Path({str(folder)!r}), 600)\n"
    )
    started = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.DEVNULL)
    try:
        assert within(60, lambda: (folder / "child.pid").is_file() and (folder / "child.pid").read_text() != "")
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    assert gone(int((folder / "child.pid").read_text()))


def gone(pid: int) -> bool:
    """Whether a process ends soon; one that nobody has collected yet counts."""

    def is_gone() -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        return state == "Z"

    return within(10, is_gone)


def within(seconds: float, condition: Any) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "python tool.py {model} {out}"}, "must be a list of program and arguments.*no shell"),
        ({"command": []}, "empty list"),
        ({"command": ["", "{model}", "{out}"]}, "empty text"),
        ({"command": ["tool", "{model}"]}, r"lacks the placeholder \{out\}: .*where to leave"),
        ({"command": ["tool", "{out}"]}, r"lacks the placeholder \{model\}: .*which model"),
        ({"command": ["tool", "{model}", "{out}", "{calib}"]}, r"knows no placeholder \{calib\}. Known: \{model\}"),
        ({"command": ["tool", 4]}, "command"),
        ({}, "needs the parameter 'command'"),
        ({"command": ["tool", "{model}", "{out}"], "timeout_seconds": 0}, "timeout_seconds"),
        ({"command": ["tool", "{model}", "{out}"], "folder": "nowhere"}, "no folder .*nowhere"),
    ],
)
def test_mistakes_are_found_when_the_suite_is_read(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=message):
        compressor({"name": "tool", "method": "command", **changes}, tmp_path)


def test_braces_that_are_no_placeholder_are_left_alone(folder: Path) -> None:
    check = "import sys\nassert sys.argv[4] == '{\"bits\": 4}', sys.argv\n" + HALVE
    chosen = script(folder, check)
    chosen["command"].append('{"bits": 4}')
    run(folder, chosen)


def test_the_identity_holds_contents_of_files_and_no_paths(tmp_path: Path) -> None:
    first, second, changed = (tmp_path / name for name in ("first", "second", "changed"))
    for place in (first, second, changed):
        place.mkdir()
        (place / "recipe.yaml").write_text("bits: 4" if place != changed else "bits: 3")
    identities = [
        compressor(script(place, HALVE) | {"command": [*script(place, HALVE)["command"], option]}, place).identity
        for option in ("recipe.yaml", "--recipe=recipe.yaml")
        for place in (first, second, changed)
    ]
    assert identities[0] == identities[1] != identities[2]
    assert identities[3] == identities[4] != identities[5]
    assert str(tmp_path) not in json.dumps(identities)
    assert sys.executable not in json.dumps(identities)


def test_the_time_limit_and_the_folder_are_no_part_of_the_identity(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    chosen = script(tmp_path, HALVE)
    changed = {**chosen, "timeout_seconds": 5.0, "folder": "other"}
    assert compressor(chosen, tmp_path).identity == compressor(changed, tmp_path).identity


def test_credentials_never_reach_a_message_or_an_argument(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret_indeed")
    tell = "import os\nprint('token', os.environ['HF_TOKEN'])\nraise SystemExit(1)"
    with pytest.raises(CommandFailed, match=r"token \*\*\*"):
        run(folder, script(folder, tell))
    with pytest.raises(RegistryError, match="like a credential") as refused:
        compressor(definition("{model}", "{out}", "--token=hf_very_secret_indeed"), folder)
    assert "very_secret" not in str(refused.value)


def test_zeros_of_an_earlier_step_must_survive_the_command(folder: Path) -> None:
    script(folder, "import shutil, sys\nshutil.copytree(sys.argv[1], sys.argv[2], dirs_exist_ok=True)")
    tool = definition("tool.py", "{model}", "{out}")
    kept = compressor({"name": "both", "chain": ["magnitude-50", tool]}, folder)
    assert verified(wide_toy("llama"), kept)[1].sparsity == pytest.approx(0.5, abs=0.01)


def test_what_no_folder_can_hold_is_refused(folder: Path) -> None:
    chosen = compressor({"name": "both", "chain": ["bnb-int8", script(folder, HALVE)]}, folder)
    with pytest.raises(RegistryError, match="storage of a library .* Put `command` first"):
        compress(wide_toy("llama"), chosen, calibration())


def test_the_dense_model_gives_its_memory_to_the_tool(folder: Path) -> None:
    model = copy.deepcopy(prune_half(wide_toy("llama")))
    compress(model, compressor(script(folder, HALVE), folder), calibration())
    assert all(parameter.is_meta for parameter in model.parameters())
