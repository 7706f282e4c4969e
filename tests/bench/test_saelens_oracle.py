"""On the same model, SAE and tokens our figures are SAELens' wherever the definitions are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sae_lens import SAE

from saetransfer.bench.benchmarks.saelens import THE_SAME, bridged, saelens_figures
from saetransfer.bench.measuring.measure import Subject, measure
from saetransfer.bench.measuring.reading import read
from saetransfer.registry import microworld, models, texts, windows
from saetransfer.registry.sites import parse_site
from saetransfer.tasks.estimate import estimate
from saetransfer.tasks.perplexity import SMALLEST_ABLATION_NATS
from saetransfer.tasks.shelf import make

TASKS = [make("reconstruction"), make("perplexity")]

LENGTH = 48


def full_windows(model: models.Model) -> windows.Windows:
    """The first windows of the microworld that are whole: SAELens pads none."""
    text = texts.resolve("microworld", Path(), divided=True)
    tokenizer = models.load_tokenizer(model)
    cut = windows.cut(text.documents("evaluation"), tokenizer, LENGTH, prepend_bos=True)
    whole = [(number, window) for number, window in (next(cut) for _ in range(200)) if len(window) == LENGTH][:40]
    units = tuple(number % 20 for number, _ in whole)
    return windows.Windows(tuple(window for _, window in whole), units, windows.special_ids(tokenizer))


@pytest.mark.parametrize("name", list(microworld.SAE_FOLDERS))
def test_figures_agree_with_saelens(name: str, tmp_path: Path) -> None:
    found = models.resolve("microworld", Path())
    model, tokenizer = models.load(found), models.load_tokenizer(found)
    sae = SAE.load_from_disk(microworld.SAE_FOLDERS[name])
    site = parse_site(str(sae.cfg.metadata.hook_name), model.config)
    text = full_windows(found)

    subject = Subject("sae", site, sae, dense_site=site, origin="none is asked for", counterpart="none is asked for")
    with torch.inference_mode():
        reading = read(model, text, [site], tmp_path, lambda _: None)
        counted = measure(model, reading, None, [subject], TASKS, lambda _: None)
    ours = {
        metric: estimated
        for task in TASKS
        for metric, estimated in estimate(task.metrics, counted["sae"][task.name]).items()
    }
    theirs = saelens_figures(bridged(found.location, model, tokenizer), sae, site, text)

    worth = theirs["ce_loss_with_ablation"] - theirs["ce_loss_without_sae"]
    for mine, name_there in THE_SAME.items():
        if mine == "perplexity.loss_recovered_zero" and worth < SMALLEST_ABLATION_NATS:
            assert ours[mine].value is None  # SAELens divides by next to nothing; we say so instead
        else:
            assert ours[mine].value == pytest.approx(theirs[name_there], rel=1e-4), mine
