"""Robust rules from their tables."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import jax
import jax.numpy as jnp

from protocols.gossip.robust_mix import Heard, Rule
from protocols.robust import rules, weighted
from scenarios.kinds import robust_rules as tables

PAIR = 2
"""Models of a bucket."""


@lru_cache(maxsize=256)
def build_rule(table: tables.RobustRule) -> Rule:
    """What is done with the own model and those heard; the same function for equal tables, to be compiled once."""
    match table:
        case tables.MedianRule():
            return _plain(rules.median)
        case tables.TrimmedMeanRule(f=f, before=before):
            return _after(before, f, partial(rules.trimmed_mean, f=f))
        case tables.MeanAroundMedianRule(f=f, before=before):
            return _after(before, f, partial(rules.mean_around_median, f=f))
        case tables.KrumRule(f=f, chosen=chosen, scores=scores, before=before):
            return _after(before, f, partial(rules.krum, f=f, chosen=chosen, scores=scores))
        case tables.GeometricMedianRule(steps=None):
            return _plain(rules.geometric_median)
        case tables.GeometricMedianRule(steps=steps, smoothing=smoothing):
            return _plain(partial(rules.smoothed_geometric_median, nu=smoothing, steps=steps or 1))
        case tables.MinimumDiameterRule(f=f):
            return _plain(partial(rules.minimum_diameter_mean, f=f))
        case tables.NearestRule(f=f):
            return _plain(partial(rules.nearest_mean, f=f, pivot=0))
        case tables.CentredClippingRule(radius=length, steps=steps):
            return _plain(lambda x: rules.centred_clipping(x, x[0], length, steps))
        case tables.ClippedGossipRule(radius="adaptive"):
            return lambda heard: weighted.clipped_gossip(
                heard.models, heard.weights, weighted.second_furthest(heard.models)
            )
        case tables.ClippedGossipRule(radius="oracle"):
            return lambda heard: weighted.clipped_gossip(
                heard.models,
                heard.weights,
                weighted.oracle_radius(heard.models, heard.weights, heard.honest),
            )
        case tables.ClippedGossipRule(radius=radius):
            assert isinstance(radius, float)
            return lambda heard: weighted.clipped_gossip(heard.models, heard.weights, radius)
        case tables.ClippedGossipHeRule(budget=budget):
            return lambda heard: weighted.clipped_gossip(
                heard.models, heard.weights, weighted.budget_radius(heard.models, heard.weights, budget)
            )
        case tables.CsPlusRule(budget=budget):
            return lambda heard: weighted.clipped_sum(heard.models, heard.weights, budget)
        case tables.GtsRule(budget=budget):
            return lambda heard: weighted.trimmed_sum(heard.models, heard.weights, budget)
        case tables.IosRule(f=f):
            return lambda heard: weighted.outliers_cut(heard.models, heard.weights, f)
        case tables.RemoveFurthestRule(f=f):
            return lambda heard: weighted.without_furthest(heard.models, heard.weights, f)
        case tables.UbarRule(keep=keep, own_share=own_share):
            return partial(_useful, keep=keep, own_share=own_share)


def _useful(heard: Heard, keep: float, own_share: float) -> jax.Array:
    near = max(1, int(keep * (heard.models.shape[0] - 1)))
    return weighted.useful_mean(heard.models, heard.losses(), near, own_share)


def _plain(rule: Callable[[jax.Array], jax.Array]) -> Rule:
    """A rule that looks at nothing but models."""
    return lambda heard: rule(heard.models)


def _after(before: str, f: int, rule: Callable[[jax.Array], jax.Array]) -> Rule:
    """A rule over what is made of the models first."""
    match before:
        case "bucketing":
            return lambda heard: rule(rules.bucketed(heard.models, jnp.argsort(heard.lots), PAIR))
        case "nearest-mixing":
            return lambda heard: rule(rules.nearest_mixed(heard.models, f))
        case "adaptive-clipping":
            return lambda heard: rule(rules.adaptively_clipped(heard.models, f))
        case _:
            return _plain(rule)
