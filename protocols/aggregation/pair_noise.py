"""Gaussian noise shared by two nodes: both derive it from their pair secret, one adds it, the other subtracts it."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from scipy.special import ndtri

from protocols.aggregation.keys import KEY_BYTES, PROTOCOL, framed, number
from protocols.aggregation.masks import keystream
from protocols.privacy.lineage import ORIGIN, Lineage, Visible
from simulator.contract.compute import Vector
from simulator.contract.node import Node


class PairNoises:
    """Noise shared by pairs in one run, as states of its lineage, recorded at first use.

    Both ends hold the key it is derived from, so from then on both know it, whether or not the other end uses it too:
    an end that is down, late or disconnected can still derive it, and so can a node that colludes with it.

    Args:
        lineage: record of the run.
        sigma: standard deviation of a pair's noise, in the units of models.
    """

    def __init__(self, lineage: Lineage, sigma: float) -> None:
        self._lineage = lineage
        self._states: dict[tuple[object, int, int], int] = {}
        self.sigma = sigma

    def state(self, node: Node, round: int, name: object, peer: int) -> int:
        """Return the lineage state of a pair's noise.

        Args:
            node: one end.
            round: round of the noise.
            name: distinguishes several noises of a pair.
            peer: the other end.
        """
        key = (name, min(node.id, peer), max(node.id, peer))
        state = self._states.pop(key, None)
        if state is None:
            state = self._lineage.contribute(
                node.now_s, node.id, round, ORIGIN, gain=1.0, sigma=self.sigma, sensitivity=0.0
            )
            self._states[key] = state
            self._lineage.delivered(node.now_s, peer, round, Visible(state))
        return state

    def vector(self, node: int, peer: int, key: bytes, size: int) -> Vector:
        """Return a node's part: plus the noise at the end with the smaller number, minus it at the other.

        Args:
            node: one end.
            peer: the other.
            key: 32 bytes that both ends derived for this noise alone.
            size: number of elements.
        """
        uniform = (keystream(key, size).astype(np.float64) + 0.5) / 2.0**32
        signed = sign(node, peer) * self.sigma
        noise: Vector = np.asarray(signed * ndtri(uniform), np.float32)
        return noise


def sign(node: int, peer: int) -> float:
    """Return the sign of a pair's noise at one end."""
    return 1.0 if node < peer else -1.0


def noise_key(pair_secret: bytes, context: bytes, round: int, pair: tuple[int, int]) -> bytes:
    """Derive the seed of the noise of two neighbours in one round.

    Args:
        pair_secret: 32 bytes both ends share.
        context: names the run.
        round: round of the noise.
        pair: both ends, lower number first.

    Returns:
        32 bytes; independent for different arguments (HKDF as a pseudorandom function).
    """
    low, high = (number(node, "a node's id") for node in pair)
    info = framed(PROTOCOL, b"pair noise", context, number(round, "the round"), low, high)
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(pair_secret)
