"""Robust rules of mixing: their keys, the models they need, and their results."""

from scenarios.kinds.robust_rules.base import CentredRule, PreparedRule, RobustRule, UncentredRule
from scenarios.kinds.robust_rules.uncentred import (
    GeometricMedianRule,
    KrumRule,
    MeanAroundMedianRule,
    MedianRule,
    MinimumDiameterRule,
    TrimmedMeanRule,
)

# isort: split
# Kinds are listed in the order of their definition.
from scenarios.kinds.robust_rules.centred import (
    CentredClippingRule,
    ClippedGossipHeRule,
    ClippedGossipRule,
    CsPlusRule,
    GtsRule,
    IosRule,
    NearestRule,
    RemoveFurthestRule,
    UbarRule,
)

__all__ = [
    "CentredClippingRule",
    "CentredRule",
    "ClippedGossipHeRule",
    "ClippedGossipRule",
    "CsPlusRule",
    "GeometricMedianRule",
    "GtsRule",
    "IosRule",
    "KrumRule",
    "MeanAroundMedianRule",
    "MedianRule",
    "MinimumDiameterRule",
    "NearestRule",
    "PreparedRule",
    "RemoveFurthestRule",
    "RobustRule",
    "TrimmedMeanRule",
    "UbarRule",
    "UncentredRule",
]
