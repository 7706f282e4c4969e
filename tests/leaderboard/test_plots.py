"""Figures are files that depend on the records alone; names in them are text, and lead into no other folder."""

from __future__ import annotations

import random
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from saetransfer.leaderboard.plots import shelf
from saetransfer.leaderboard.plots.style import written
from saetransfer.leaderboard.record import Labels, Measurement, Record
from tests.leaderboard.examples import DEFINITIONS, grid, record, spec

SURVIVED = "overlap.survived"
KNOWN = {**DEFINITIONS, SURVIVED: DEFINITIONS["reconstruction.explained_variance"]}
TASKS = {"overlap": {"version": 1, "damaged_below": 0.5, "survived_above": 0.9}}


def cell(compressor: str, sae: str, source: str, place: int, name: str = "microworld", **changes: object) -> Record:
    params = {"sparsity": 0.1 * place} if compressor.startswith("wanda") else {"bits": 9 - place}
    steps = [] if compressor == "dense" else [{"method": compressor.split("-")[0], "params": params}]
    on = "dense" if sae == "frozen" else "state"
    its_spec = spec(compressor, sae, source, compressor=steps, tasks=TASKS, sae={"name": sae, "on": on})
    survived = 1.0 - 0.05 * place
    made = record(compressor, sae, source, gap=0.01 * place, spec=its_spec)
    metrics = {**made.metrics, SURVIVED: Measurement(value=survived, unit="1", ci=(survived - 0.01, survived + 0.01))}
    compression: dict[str, Any] = {"sparsity": 0.1 * place, "effective_bits": 9.0 - place}
    compression["bytes"] = {"dense": 100, "theoretical": 100 - 10 * place}
    labels = Labels(suite=name, model=name, compressor=compressor, sae=sae, sae_source=source, text=name)
    percents = [None, *range(-10 - place, 101 - place)]
    details = {"overlap": {"r_percent": percents}}
    changed = {"metrics": metrics, "compression": compression, "labels": labels, "details": details, **changes}
    return made.model_copy(update=changed)


def cells(name: str = "microworld") -> list[Record]:
    states = ["dense", "rtn-7", "rtn-6", "wanda-30", "wanda-40"]
    saes = (("frozen", "trained"), ("native", "trained"), ("random", "random"))
    return [cell(state, sae, source, place, name) for place, state in enumerate(states) for sae, source in saes]


def drawn(records: list[Record], *kinds: str) -> dict[str, Figure]:
    return dict(shelf.figures(records, KNOWN, kinds or tuple(shelf.KINDS)))


def test_every_kind_is_drawn_and_the_bytes_depend_on_the_records_alone() -> None:
    records = cells()
    first = {name: written(made, "svg") for name, made in drawn(records).items()}
    assert set(first) == {f"microworld__{kind}" for kind in shelf.KINDS}
    random.Random(0).shuffle(records)
    again = drawn(records, "pareto", "bars", "heatmap")
    assert all(written(made, "svg") == first[name] for name, made in again.items())
    for text in first.values():
        ElementTree.fromstring(text)
        assert b"<dc:date>" not in text


def test_pngs_are_the_same_bytes_too() -> None:
    one, two = (written(drawn(cells(), "survival")["microworld__survival"], "png") for _ in range(2))
    assert one == two
    assert one.startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["<script>alert(1)</script>|", "../../etc/passwd", "$x^2$ \\alpha_{", "\x1b[31m\n"])
def test_names_are_text_and_lead_nowhere(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    files = shelf.write(cells(name), KNOWN, folder, ["heatmap"])
    assert [file.parent for file in files] == [folder, folder]
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    (svg,) = (file.read_text(encoding="utf-8") for file in files if file.suffix == ".svg")
    ElementTree.fromstring(svg)
    assert "<script" not in svg


def test_models_whose_names_look_alike_get_files_of_their_own() -> None:
    assert {name.partition("__")[0] for name in drawn([*cells("a/b"), *other_seed("a-b")], "heatmap")} == {
        "a-b",
        "a-b-2",
    }


def test_what_records_do_not_hold_is_not_drawn() -> None:
    assert not drawn([record()])
    assert set(drawn(grid())) == {"microworld__pareto", "microworld__heatmap"}


def test_failed_cells_are_shown_for_what_they_are() -> None:
    (made,) = drawn(grid()[:3] + [failed(grid()[4])], "heatmap").values()
    assert "failed" in {text.get_text() for axes in made.axes for text in axes.texts}


def failed(one: Record) -> Record:
    its_spec = spec("wanda-50", "other", "pruned")
    labels = one.labels.model_copy(update={"sae": "other", "sae_source": "pruned"})
    return one.model_copy(update={"labels": labels, "spec": its_spec})


def other_seed(name: str) -> list[Record]:
    return [one.model_copy(update={"spec": one.spec.model_copy(update={"seed": 1})}) for one in cells(name)]
