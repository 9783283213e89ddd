"""Keep a machine busy for a while: python -m tests.support.busy --processes 8 --seconds 60.

To see whether tests depend on its speed, run them meanwhile. It ends by itself.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time


def spin(seconds: float) -> None:
    """Compute nothing for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(10_000))


def main() -> None:
    """Start processes and wait for their end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=4 * multiprocessing.cpu_count())
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    workers = [
        multiprocessing.Process(target=spin, args=(asked.seconds,), daemon=True)
        for _ in range(asked.processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


if __name__ == "__main__":
    main()
