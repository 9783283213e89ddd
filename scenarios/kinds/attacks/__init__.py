"""Attacks of Byzantine nodes: their keys, the knowledge they need, and what they send or train on."""

from scenarios.kinds.attacks.base import Attack, ContentAttack, PoisoningAttack, TruthfulAttack

# isort: split
# Kinds are listed in the order of their definition.
from scenarios.kinds.attacks.from_own_model import (
    FreeRiderAttack,
    GaussianAttack,
    NoAttack,
    NotFiniteAttack,
    SignFlipAttack,
    TwoFacedAttack,
)

# isort: split
from scenarios.kinds.attacks.poisoning import (
    BackdoorAttack,
    InconsistentSharesAttack,
    LabelFlipAttack,
    NoiseFreeRiderAttack,
)

# isort: split
from scenarios.kinds.attacks.from_peer_models import (
    AlieAttack,
    DissensusAttack,
    EchoAttack,
    IpmAttack,
    MimicAttack,
    OverrideAttack,
    SpectralAttack,
)

__all__ = [
    "AlieAttack",
    "Attack",
    "BackdoorAttack",
    "ContentAttack",
    "DissensusAttack",
    "EchoAttack",
    "FreeRiderAttack",
    "GaussianAttack",
    "InconsistentSharesAttack",
    "IpmAttack",
    "LabelFlipAttack",
    "MimicAttack",
    "NoAttack",
    "NoiseFreeRiderAttack",
    "NotFiniteAttack",
    "OverrideAttack",
    "PoisoningAttack",
    "SignFlipAttack",
    "SpectralAttack",
    "TruthfulAttack",
    "TwoFacedAttack",
]
