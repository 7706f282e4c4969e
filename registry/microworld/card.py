"""Write the model card from `card_template.md`: every figure in it is measured here, on the evaluation split."""

from __future__ import annotations

import json
from pathlib import Path

from sae_lens import SAE
from transformers import LlamaForCausalLM

from . import measure, world
from .language import ATTRIBUTES, LANGUAGE_VERSION
from .measure import Subject, take
from .tokens import load_tokenizer
from .train_model import ModelRecipe
from .train_saes import RECIPES

_N_EVALUATION = 1500
_N_PROBE, _N_PROBE_TEST = 4000, 1500

_TEMPLATE = Path(__file__).with_name("card_template.md")


def write_card(folder: Path) -> None:
    """Measure what lies in `folder` and write its `MODEL_CARD.md`."""
    card = _TEMPLATE.read_text(encoding="utf-8").format(**_figures(folder))
    (folder / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def _figures(folder: Path) -> dict[str, object]:
    """A value for every field of the template."""
    tokenizer = load_tokenizer(folder / "model")
    model = LlamaForCausalLM.from_pretrained(folder / "model").eval()
    held_out = Subject(model, tokenizer, take("evaluation", _N_EVALUATION))
    training = json.loads((folder / "model" / "training.json").read_text(encoding="utf-8"))
    seen = Subject(model, tokenizer, take("training", training["stories"], ModelRecipe.seed))
    loss = measure.cross_entropy(held_out)
    config = model.config
    return {
        "language_version": LANGUAGE_VERSION,
        "story": "> " + held_out.stories[0].text,
        "n_attributes": len(ATTRIBUTES),
        "n_cities": len(world.COUNTRY_OF),
        "n_countries": len(world.COUNTRIES),
        "layers": config.num_hidden_layers,
        "d_model": config.hidden_size,
        "heads": config.num_attention_heads,
        "d_mlp": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": len(tokenizer),
        "train_stories": training["stories"],
        "train_tokens": training["tokens"],
        "train_minutes": training["seconds"] / 60,
        "n_stories": _N_EVALUATION,
        "n_tokens": loss.n_tokens,
        "tokens_per_story": loss.n_tokens / _N_EVALUATION,
        "entropy": loss.entropy_nats,
        "model": loss.model_nats,
        "model_after_first": loss.model_nats_after_first,
        "ngram": measure.ngram_cross_entropy(seen, held_out),
        **measure.knowledge(model, tokenizer)._asdict(),
        **measure.scales(held_out, RECIPES["resid-2"].hf_hook_name)._asdict(),
        "probes": _probe_rows(held_out),
        "n_probe_train": _N_PROBE - _N_PROBE_TEST,
        "n_probe_test": _N_PROBE_TEST,
        "sae_samples": RECIPES["resid-2"].n_samples,
        "saes": _sae_rows(held_out, folder),
    }


def _probe_rows(subject: Subject) -> str:
    labelled = Subject(subject.model, subject.tokenizer, take("evaluation", _N_PROBE))
    results = measure.probe(labelled, RECIPES["resid-2"].hf_hook_name, _N_PROBE_TEST)
    return "\n".join(
        f"| {r.attribute} | {len(ATTRIBUTES[r.attribute])} | {r.accuracy:.1%} | {r.chance:.1%} |" for r in results
    )


def _sae_rows(subject: Subject, folder: Path) -> str:
    rows = []
    for name in RECIPES:
        sae = SAE.load_from_disk(folder / "saes" / name)
        q = measure.sae_quality(subject, sae)
        figures = f"{q.l0:.1f} | {q.explained_variance:.4f} | {q.dead_share:.1%} | {q.ce_increase_nats:.4f}"
        rows.append(f"| microworld-{name} | `{sae.cfg.metadata['hook_name']}` | {sae.cfg.d_sae} | {figures} |")
    return "\n".join(rows)
