"""What a suite can choose of feature overlap."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator


class OverlapSettings(BaseModel):
    """Settings of the task `overlap`; the two thresholds of r are ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_firings: int = Field(default=10, ge=1)
    """Tokens on which a latent must fire (on the dense state) to be counted: the r of fewer says little."""
    survived_above: float = Field(default=0.9, ge=0, le=1)
    damaged_below: float = Field(default=0.5, ge=0, le=1)
    nearest_above: float = Field(default=0.7, ge=-1, le=1)
    """Similarity that mutual nearest neighbours must have."""
    table: bool = False
    """Whether a table by latent is wanted. It changes no figure."""

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> OverlapSettings:
        if self.damaged_below > self.survived_above:
            raise ValueError(
                f"damaged_below ({self.damaged_below:g}) is above survived_above ({self.survived_above:g}), so that a "
                "latent could be both; give a damaged_below that is not above it"
            )
        return self
