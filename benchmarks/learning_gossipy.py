"""Work W1 by gossipy (pip install gossipy-dfl torch), for benchmarks/learning.py; runs in an interpreter of its own.

    python learning_gossipy.py NODES one|all ROUNDS default|THREADS

Prints a JSON line with the processor time of its simulation over nodes and rounds.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
import time
import types
import warnings

warnings.filterwarnings("ignore")
for name in ("torchvision", "torchvision.transforms", "torchvision.datasets"):
    sys.modules.setdefault(
        name, types.ModuleType(name)
    )  # gossipy imports it for data sets that are not used here
sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
sys.modules["torchvision"].datasets = sys.modules["torchvision.datasets"]

import networkx as nx  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from gossipy import LOG, set_seed  # noqa: E402
from gossipy.core import AntiEntropyProtocol, CreateModelMode, StaticP2PNetwork, UniformDelay  # noqa: E402
from gossipy.data import DataDispatcher  # noqa: E402
from gossipy.data.handler import ClassificationDataHandler  # noqa: E402
from gossipy.model import TorchModel  # noqa: E402
from gossipy.model.handler import TorchModelHandler  # noqa: E402
from gossipy.node import GossipNode  # noqa: E402
from gossipy.simul import GossipSimulator, SimulationReport  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

SAMPLES, DELTA = 16, 100


class Softmax(TorchModel):
    """650 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores."""
        return self.layer(x)

    def init_weights(self, *_: object, **__: object) -> None:
        """As torch does."""


def main() -> None:
    """Run and print the result."""
    nodes, evaluated, rounds, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    if threads != "default":
        torch.set_num_threads(int(threads))
    LOG.setLevel(logging.ERROR)
    set_seed(1)
    rng = np.random.default_rng(1)
    x, y = load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    test, train = order[:360], rng.choice(order[360:], SAMPLES * nodes)
    tensors = [torch.tensor(part / 16, dtype=torch.float32) for part in (x[train], x[test])]
    labels = [torch.tensor(part) for part in (y[train], y[test])]
    handler = ClassificationDataHandler(tensors[0], labels[0], tensors[1], labels[1])
    dispatcher = DataDispatcher(handler, n=nodes, eval_on_user=False, auto_assign=True)
    graph = nx.random_regular_graph(min(20, nodes - 1 - nodes % 2), nodes, seed=1)
    model = TorchModelHandler(
        net=Softmax(),
        optimizer=torch.optim.SGD,
        optimizer_params={"lr": 0.5},
        criterion=torch.nn.CrossEntropyLoss(),
        local_epochs=1,
        batch_size=SAMPLES,
        create_model_mode=CreateModelMode.MERGE_UPDATE,
    )
    network = StaticP2PNetwork(nodes, nx.to_numpy_array(graph))
    population = GossipNode.generate(dispatcher, network, model, DELTA, True)
    if evaluated == "one":
        dispatcher.has_test = lambda: False
        for node in population.values():
            node.has_test = lambda: False
    simulator = GossipSimulator(
        nodes=population,
        data_dispatcher=dispatcher,
        delta=DELTA,
        protocol=AntiEntropyProtocol.PUSH,
        delay=UniformDelay(0, DELTA // 10),
        online_prob=1,
        drop_prob=0,
        sampling_eval=0.0,
    )
    report = SimulationReport()
    simulator.add_receiver(report)
    simulator.init_nodes(seed=1)
    with contextlib.redirect_stdout(io.StringIO()):
        began = time.process_time()
        simulator.start(n_rounds=rounds)
        took = time.process_time() - began
    found = report.get_evaluation(False)
    accuracy = found[-1][1]["accuracy"] if found else None
    print(json.dumps({"cpu_s_per_node_round": took / nodes / rounds, "accuracy": accuracy}))


if __name__ == "__main__":
    main()
