"""The family of robust rules, and base classes for its kinds.

A kind is best derived from :class:`UncentredRule` or :class:`CentredRule`, which state most facts.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind

if TYPE_CHECKING:
    import jax

    from protocols.gossip.robust_mix import Heard, Rule

Wrong: TypeAlias = Annotated[
    int,
    Field(
        ge=0,
        examples=[1],
        description="Byzantine models among those compared: a node's neighbours and itself",
    ),
]
Before: TypeAlias = Annotated[
    Literal["nothing", "nearest-mixing", "adaptive-clipping", "bucketing"],
    Field(
        examples=["nearest-mixing"],
        description="step before the rule: nearest-mixing (NNM, each replaced by the mean of its "
        "nearest), adaptive-clipping (ARC, the longest cut) or bucketing (means of random pairs, the last "
        "one alone "
        "if they are odd: f of these may be wrong)",
    ),
]
Need: TypeAlias = Literal["own samples", "honest nodes"]
"""What a rule looks at besides models and weights: the node's own samples, or who is honest (an oracle)."""

BUCKET = 2
"""Models of a bucket."""


class RobustRule(Kind):
    """Robust rule that replaces the weighted average of models."""

    group: ClassVar[str] = "sottovoce.robust_rules"

    @property
    @abstractmethod
    def least(self) -> int:
        """Number of models that it needs, the own one included."""

    @property
    @abstractmethod
    def centred(self) -> bool:
        """Whether the own model counts for more than a neighbour's; a server without one cannot use the rule then."""

    @property
    @abstractmethod
    def needs(self) -> frozenset[Need]:
        """What it looks at besides models and weights."""

    @abstractmethod
    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model, (d,), of what a node has heard; traceable by JAX."""

    def build(self) -> Rule:
        """Return :meth:`mix` as a function that is the same object for equal tables, so that it compiles once."""
        return _built(self)


@lru_cache(maxsize=256)
def _built(rule: RobustRule) -> Rule:
    return rule.mix


class UncentredRule(RobustRule):
    """Base class of rules that compare models alone, the own one being one like the others."""

    @property
    def least(self) -> int:
        """One model is its own result."""
        return 1

    @property
    def centred(self) -> bool:
        """The own model is one like the others."""
        return False

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but models."""
        return frozenset()

    @abstractmethod
    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector, (d,), for stacked ones, (n, d)."""

    def mix(self, heard: Heard) -> jax.Array:
        """Aggregate all models."""
        return self.aggregate(heard.models)


class PreparedRule(UncentredRule):
    """Base class of rules for ``f`` Byzantine models, with a step before them (NNM, ARC or bucketing)."""

    f: Wrong
    before: Before = "nothing"

    @property
    @abstractmethod
    def least_compared(self) -> int:
        """Number of vectors that it needs after what is done before."""

    @property
    def least(self) -> int:
        """Number of models that it needs; of buckets one may hold a single model."""
        compared = self.least_compared
        return BUCKET * (compared - 1) + 1 if self.before == "bucketing" else compared

    def mix(self, heard: Heard) -> jax.Array:
        """Aggregate what is made of all models first.

        Sources: Allouah et al. 2023 (NNM), 2025 (ARC); Karimireddy, He, Jaggi 2022 (bucketing).
        """
        import jax.numpy as jnp

        from protocols.robust import rules

        x = heard.models
        match self.before:
            case "nothing":
                return self.aggregate(x)
            case "nearest-mixing":
                return self.aggregate(rules.nearest_mixed(x, self.f))
            case "adaptive-clipping":
                return self.aggregate(rules.adaptively_clipped(x, self.f))
            case "bucketing":
                return self.aggregate(rules.bucketed(x, jnp.argsort(heard.lots), BUCKET))


class CentredRule(RobustRule):
    """Base class of rules in which the own model counts for more, and that look at models and weights alone."""

    @property
    def least(self) -> int:
        """The own model is enough."""
        return 1

    @property
    def centred(self) -> bool:
        """The own model counts for more than a neighbour's."""
        return True

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing but models and weights."""
        return frozenset()
