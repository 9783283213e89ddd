"""Robust rules from their tables."""

from __future__ import annotations

from functools import partial

import jax

from protocols.gossip.robust_mix import Rule
from protocols.robust import rules
from scenarios import robust_tables as tables


def build_rule(table: tables.RobustRule) -> Rule:
    """What is done with the own model and those heard."""
    match table:
        case tables.MedianRule():
            return rules.median
        case tables.TrimmedMeanRule(f=f, before=before):
            return _after(before, f, partial(rules.trimmed_mean, f=f))
        case tables.MeanAroundMedianRule(f=f, before=before):
            return _after(before, f, partial(rules.mean_around_median, f=f))
        case tables.KrumRule(f=f, chosen=chosen, scores=scores, before=before):
            return _after(before, f, partial(rules.krum, f=f, chosen=chosen, scores=scores))
        case tables.GeometricMedianRule():
            return rules.geometric_median
        case tables.MinimumDiameterRule(f=f):
            return partial(rules.minimum_diameter_mean, f=f)
        case tables.NearestRule(f=f):
            return partial(rules.nearest_mean, f=f, pivot=0)
        case tables.CentredClippingRule(radius=radius, steps=steps):
            return lambda x: rules.centred_clipping(x, x[0], radius, steps)


def _after(before: str, f: int, rule: Rule) -> Rule:
    if before == "nothing":
        return rule
    first = rules.nearest_mixed if before == "nearest-mixing" else rules.adaptively_clipped

    def chained(x: jax.Array) -> jax.Array:
        return rule(first(x, f))

    return chained
