"""Reproduction of a negative result: a secret coin in secure sums saves no noise.

One JSON line per case (the last: two releases under one throw of the coin), and the figure of docs/privacy.md::

    python benchmarks/secret_coin.py --figure docs/secret-coin.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from analysis.figures import style
from protocols.privacy.secret_coin import coin_delta, relative_noise

DELTA = 1e-5
CASES = ((0.5, 200), (0.2, 1000), (0.1, 1000), (0.05, 1000), (0.02, 1000))
"""Rates and rounds."""


def main() -> None:
    """Print noise relative to signal for each case, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, help="PNG, SVG or PDF to write")
    figure = parser.parse_args().figure
    made, axes = style.figure(1, 2)
    for ax, epsilon in zip(axes, (1.0, 8.0), strict=True):
        without = relative_noise(1.0, 1, epsilon, DELTA)
        found = []
        for rate, rounds in CASES:
            found.append(relative_noise(rate, rounds, epsilon, DELTA))
            print(
                json.dumps({"epsilon": epsilon, "rate": rate, "rounds": rounds, "noise": found[-1]}),
                flush=True,
            )
        print(json.dumps({"epsilon": epsilon, "rate": 1.0, "noise": without}), flush=True)
        ax.plot([rate for rate, _ in CASES], found, "o-", label="secret coin")
        ax.axhline(without, color="black", linestyle="--", label="no coin")
        ax.set(
            xscale="log",
            xlabel="probability q of the coin",
            title=f"ε = {epsilon:g}",
            ylim=(0, 1.1 * max(found)),
        )
    twice = coin_delta(0.2, 2**0.5, 0.8)
    print(
        json.dumps(
            {"rate": 0.2, "multiplier": 1.0, "epsilon": 0.8, "delta of one coin for two releases": twice}
        )
    )
    axes[0].set_ylabel("noise / signal, z / (q √T)")
    axes[0].legend(loc="lower right")
    if figure is not None:
        style.save(made, figure)


if __name__ == "__main__":
    main()
