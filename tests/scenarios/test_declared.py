"""Protocols of other packages must declare what their messages reveal."""

from __future__ import annotations

from pathlib import Path

from tests.support.plugins import installed, told

LEAK = '''
from typing import ClassVar, Literal

from pydantic import Field
from scenarios.kinds.protocols import LinkNeeds, Protocol
from scenarios.kinds.protocols.base import InTheClear, Rounds
from simulator.contract.node import Message


class Leak(Protocol):
    """Sends models without a release."""

    kind: Literal["leak"] = Field(description="sends models without a release")
    rounds: Rounds
    exchange: InTheClear
    messages: ClassVar[tuple[str, ...]] = ("model",)
    links: ClassVar[LinkNeeds] = LinkNeeds()
    timeout_s: ClassVar[None] = None

    def need(self, conditions):
        return None

    def build(self, context):
        async def program(node):
            model = await context.learner.local_update(node, context.learner.start, 0)
            node.multicast(node.neighbors, Message("model", 0, model.params, 2600))
            node.record("finished", rounds=1)

        return program
'''
RUN = """
from pathlib import Path
from scenarios.load import load
from scenarios.run import run
from simulator.errors import SottovoceError

changes = ['protocol={kind="leak", rounds=1, exchange="ldp"}', 'topology={kind="ring", nodes=4}', "fault=[]",
           "adversary={}", "privacy.noise=member"]
loaded = load(Path("quickstart"), changes, studies=False)
try:
    print(run(loaded.scenario, Path("run"))["epsilon_worst"])
except SottovoceError as error:
    print(error.__cause__ or error)
"""


def test_a_protocol_of_a_package_cannot_hide_models_from_the_ledger(tmp_path: Path) -> None:
    installed(tmp_path, LEAK, {"sottovoce.protocols": {"leak": "Leak"}})
    assert "has a body but no release" in told(tmp_path, RUN)
