"""Benchmark of cryptography in secure sums, compared with the bare primitives and with ideal cryptography.

One JSON line per case::

    python benchmarks/aggregation.py                       # everything below, mostly "runs"
    python benchmarks/aggregation.py --case mask secagg ideal

``mask``: one mask made and added to a vector, over the bare keystream (AES-256-CTR) of the same length.
``secagg``: everything one client of SecAgg+ does in one sum (100 clients), stage by stage, over the bare primitives
of that stage: key agreements, keystreams.
``ideal``: one round of a member of k neighbourhoods of k members each, encoding for all of them and masking, over the
same with ideal cryptography.
``runs``: whole runs with ideal cryptography, 1,000 nodes on a 10-regular graph, 50 rounds.

Times are the least of several in one process; ``ratio`` is what the case claims, named by ``ratio_of``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.aggregation.double_secrets import RealSecrets
from protocols.aggregation.ideal import seal
from protocols.aggregation.keys import Directory
from protocols.aggregation.masks import add_keystream, mask
from protocols.aggregation.secagg_graph import parameters, partners
from protocols.aggregation.sums import SumId
from protocols.sharing.codec import codec_for, encode_rows
from protocols.sharing.modulus import Z32
from scenarios.load import resolve
from scenarios.run import run

CASES = ("mask", "secagg", "ideal", "runs")
KEY = bytes(range(32))


def least(repeats: int, work: Callable[[], Any]) -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def bare_keystream(size: int) -> bytes:
    """As many bytes of keystream as a vector of 32-bit words has."""
    return Cipher(algorithms.AES(KEY), modes.CTR(bytes(16))).encryptor().update(bytes(4 * size))


def masking(repeats: int) -> Iterator[dict[str, Any]]:
    """One mask against its keystream."""
    for size in (5_000, 100_000, 1_000_000):
        vector = np.zeros(size, np.uint32)
        often = max(1, 1_000_000 // size)
        bare_s = least(repeats, lambda n=size, often=often: [bare_keystream(n) for _ in range(often)]) / often
        mask_s = (
            least(repeats, lambda v=vector, often=often: [add_keystream(v, KEY, 1) for _ in range(often)])
            / often
        )
        yield {
            "case": "mask",
            "size": size,
            "bare_keystream_us": 1e6 * bare_s,
            "mask_us": 1e6 * mask_s,
            "ratio": mask_s / bare_s,
            "ratio_of": "making and adding a mask over its bare keystream",
        }


class Clerk:
    """The part of a node that secrets need."""

    def __init__(self, number: int) -> None:
        self.id = number

    def secret(self, purpose: str, size: int) -> bytes:
        """Any bytes."""
        return (f"{self.id} {purpose}".encode() * size)[:size]


def secagg(clients: int, repeats: int) -> Iterator[dict[str, Any]]:
    """One client of SecAgg+, stage by stage."""
    chosen = parameters(clients, 0.05, 0.05)
    sum = SumId(clients, 0, 0)
    graph = partners(range(clients), chosen.degree, KEY)
    everybody = [RealSecrets(Clerk(i), Z32, b"benchmark", None, Directory({})) for i in range(clients)]
    greetings = {i: secrets.greeting(sum) for i, secrets in enumerate(everybody)}
    boxes = {
        i: dict(secrets.deal(sum, {v: greetings[v] for v in graph[i]}, chosen.threshold))
        for i, secrets in enumerate(everybody)
    }
    client, mine = everybody[0], graph[0]
    sealed = {v: boxes[v][0] for v in mine}
    private = [X25519PrivateKey.generate() for _ in range(2 * len(mine))]
    public = X25519PrivateKey.generate().public_key()
    keys_s = least(repeats, lambda: [key.exchange(public) for key in private[:1]])
    stages: dict[str, tuple[Callable[[], Any], float]] = {
        "greet: two keys": (lambda: client.greeting(sum), 2 * keys_s),
        "deal: agree, share, seal": (
            lambda: client.deal(sum, {v: greetings[v] for v in mine}, chosen.threshold),
            len(mine) * keys_s,
        ),
        "take: agree, open": (lambda: client.take(sum, sealed), len(mine) * keys_s),
    }
    for size in (5_000, 1_000_000):
        vector = np.zeros(size, np.uint32)
        stream_s = least(repeats, lambda n=size: bare_keystream(n))
        stages[f"mask: {size} parameters"] = (
            lambda v=vector: client.mask(sum, v, mine, 4 * v.size),
            len(mine) * keys_s + (len(mine) + 1) * stream_s,
        )
    stages["reveal: one share each"] = (
        lambda: client.reveal(sum, sorted((0, *mine)), frozenset(range(clients))),
        0.0,
    )
    for stage, (work, bare_s) in stages.items():
        if not stage.startswith("greet"):
            client.greeting(sum)
            client.deal(sum, {v: greetings[v] for v in mine}, chosen.threshold)
            client.take(sum, sealed)
        took_s = least(repeats, work)
        yield {
            "case": "secagg",
            "clients": clients,
            "degree": chosen.degree,
            "threshold": chosen.threshold,
            "stage": stage,
            "ms": 1e3 * took_s,
            "bare_ms": 1e3 * bare_s,
            "ratio": took_s / bare_s if bare_s else None,
            "ratio_of": "the stage over its bare X25519 agreements and AES keystreams",
        }


def ideal(repeats: int) -> Iterator[dict[str, Any]]:
    """A member's round with masks and without."""
    for k, size in ((10, 100_000), (100, 100_000)):
        values = np.random.Generator(np.random.PCG64(1)).standard_normal(size).astype(np.float32)
        weights = np.full(k, 1.0 / (k + 1))
        codec = codec_for(10.0, 1.0, k)
        members = tuple(range(k))
        rng = np.random.Generator(np.random.PCG64(2))

        def encode(values: Any = values, weights: Any = weights, codec: Any = codec, rng: Any = rng) -> Any:
            return encode_rows(values, weights, codec, rng)

        rows = encode()

        def real(rows: Any = rows, members: Any = members) -> None:
            for row in rows:
                mask(row, 0, members, lambda peer: KEY)

        def sealed(rows: Any = rows) -> None:
            for row in rows:
                seal(row, 0, row.nbytes, ())

        often = 1 if k > 10 else repeats
        encode_s, real_s, sealed_s = least(often, encode), least(often, real), least(often, sealed)
        yield {
            "case": "ideal",
            "k": k,
            "size": size,
            "encode_ms": 1e3 * encode_s,
            "mask_ms": 1e3 * real_s,
            "seal_ms": 1e3 * sealed_s,
            "ratio": (encode_s + real_s) / (encode_s + sealed_s),
            "ratio_of": "encoding and masking over encoding and sealing",
            "masking_over_sealing": real_s / sealed_s,
        }


def runs(nodes: int, rounds: int) -> Iterator[dict[str, Any]]:
    """A whole run with ideal cryptography."""
    scenario = resolve(
        {
            "format": 1,
            "name": "thousand",
            "topology": {"kind": "regular", "nodes": nodes, "degree": 10},
            "network": {
                "latency": {"kind": "lognormal", "median": "50 ms", "sigma": 0.4},
                "uplink": "100 Mbit/s",
            },
            "data": {"kind": "digits"},
            "partition": {"kind": "iid", "samples": 16, "with_replacement": True},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": rounds, "exchange": "secure", "timeout": "2 s"},
            "secure": {"crypto": "ideal", "tolerated_dropouts": 2},
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": 1.0,
                "observers": [[0]],
            },
            "evaluation": {"every": "1000 s"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        summary = run(scenario, Path(folder) / "run", base=Path())
        took_s = time.perf_counter() - begun
    yield {
        "case": "runs",
        "nodes": nodes,
        "rounds": rounds,
        "wall_s": took_s,
        "messages": summary["messages_sent"],
        "sums_opened": summary["sums_opened"],
        "us_per_message": 1e6 * took_s / summary["messages_sent"],
        "ratio": summary["simulated_s"] / took_s,
        "ratio_of": "simulated seconds over wall seconds",
    }


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    made = {
        "mask": lambda: masking(asked.repeats),
        "secagg": lambda: secagg(asked.clients, asked.repeats),
        "ideal": lambda: ideal(asked.repeats),
        "runs": lambda: runs(asked.nodes, asked.rounds),
    }
    for case in asked.case:
        for line in made[case]():
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
