"""What planning has to know of a model: so that a suite can be planned where the hub cannot be reached."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from transformers import AutoConfig, PretrainedConfig

from .errors import RegistryError

_Count = Annotated[int, Field(gt=0)]


class Facts(BaseModel):
    """Architecture and sizes of a model, as its card states them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_type: str
    """As in its `config.json`; it decides the family."""
    layers: _Count
    d_model: _Count
    n_heads: _Count
    head_dim: _Count
    d_mlp: _Count
    vocabulary: _Count
    """Tokens, those included that only pad the embedding."""
    context: _Count
    """Positions at most."""

    def config(self) -> PretrainedConfig:
        """A configuration with these facts; what else it says is the default of its type and means nothing."""
        # GPT-Neo's checks that it names the kind of attention of every layer.
        kinds = {"attention_types": [[["global"], self.layers]]} if self.model_type == "gpt_neo" else {}
        return AutoConfig.for_model(
            self.model_type,
            **kinds,
            num_hidden_layers=self.layers,
            hidden_size=self.d_model,
            num_attention_heads=self.n_heads,
            head_dim=self.head_dim,
            intermediate_size=self.d_mlp,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.context,
        )


def facts_of(config: PretrainedConfig) -> Facts:
    """The facts of a model's configuration."""
    d_model, n_heads = config.hidden_size, config.num_attention_heads
    return Facts(
        model_type=config.model_type,
        layers=config.num_hidden_layers,
        d_model=d_model,
        n_heads=n_heads,
        head_dim=getattr(config, "head_dim", None) or d_model // n_heads,
        # GPT-2 and GPT-Neo: four times as wide as the stream where nothing is said.
        d_mlp=getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * d_model,
        vocabulary=config.vocab_size,
        context=config.max_position_embeddings,
    )


def check_facts(name: str, planned: Facts, found: Facts) -> None:
    """Refuse a model that is not what it was planned as.

    Raises:
        RegistryError: with every fact that differs.
    """
    said, true = planned.model_dump(), found.model_dump()
    differing = [f"{key} {said[key]} (it is {true[key]})" for key in said if said[key] != true[key]]
    if differing:
        raise RegistryError(
            f"Model '{name}' was planned with {', '.join(differing)}, but its config.json says otherwise. Correct the "
            "`facts` of its card (registry/models.yaml, or the suite), or give another revision."
        )
