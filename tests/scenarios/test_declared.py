"""Programs from outside cannot hide what their messages reveal, nor change how updates are bounded."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import Field

import sottovoce as sv
from protocols.gossip.learner import Learner
from protocols.gossip.messages import show
from protocols.learning.eager import EagerExecutor
from protocols.privacy.lineage import Entrusted, Opened, Share, Visible
from scenarios import declared
from scenarios.assembly import protocol as assembly
from scenarios.build import build
from scenarios.conformance import worlds
from scenarios.conformance.protocols import _scenario
from scenarios.declared import Form, Guard
from scenarios.format.tables import keys_of
from scenarios.kinds.protocols import Protocol
from scenarios.kinds.robust_rules import UncentredRule
from scenarios.reading.choices import choices_of
from simulator.contract.node import Message, Node
from simulator.errors import ConfigurationError, ContractError
from tests.support.matrix import covering
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

for exchange in ("ldp", "plain"):
    changes = ['protocol={kind="leak", rounds=1}', f'protocol.exchange={exchange}', "fault=[]", "adversary={}",
               'topology={kind="ring", nodes=4}', *(["privacy.noise=member"] if exchange == "ldp" else [])]
    loaded = load(Path("quickstart"), changes, studies=False)
    try:
        print(run(loaded.scenario, Path("run") / exchange)["epsilon_worst"])
    except SottovoceError as error:
        print(error.__cause__ or error)
"""
FEW = {
    "topology": {"kind": "ring", "nodes": 4},
    "fault": [],
    "adversary": {},
    "partition": {"kind": "iid"},
    "protocol.exchange": "ldp",
    "protocol.rounds": 2,
    "privacy.noise": "member",
}


def test_a_protocol_of_a_package_cannot_hide_models_from_the_ledger(tmp_path: Path) -> None:
    installed(tmp_path, LEAK, {"sottovoce.protocols": {"leak": "Leak"}})
    assert told(tmp_path, RUN).count("has a body but no release") == 2


# ---------------------------------------------------------------- messages

FORM = Form(frozenset({"model", "ask"}), rounds=3, numbers=1, shipped=frozenset({"masked"}))
VECTOR = np.arange(5, dtype=np.float32)
SHOWN = Visible(2)


class Named(str):
    """A name that carries more."""


class Marked(Message):
    """A message that carries more."""


GOOD = [
    Message("ask", -1, None, 8),
    Message("model", 3, VECTOR, 28, SHOWN),
    Message("model", 0, (VECTOR, 0.5), 36, SHOWN),
    Message("model", 0, (VECTOR, VECTOR, 7), 56, (SHOWN, SHOWN)),
    Message("masked", 0, (1, b"key"), 77),
    Message("masked", 0, VECTOR, 99, Share((0, 0), 1, frozenset({1, 2}), 2, 0.5)),
]
BAD = [
    (Message("secret 17", 0, None, 8), "declared kind"),
    (Message(Named("model"), 0, None, 8), "declared kind"),
    (Marked("model", 0, None, 8), "is a Marked"),
    (Message("model", 4, None, 8), "round"),
    (Message("model", -2, None, 8), "round"),
    (Message("model", 0.5, None, 8), "round"),  # type: ignore[arg-type]
    (Message("model", True, None, 8), "round"),
    (Message("ask", 0, None, 9), "size_bytes = 9"),
    (Message("model", 0, VECTOR, 29, SHOWN), "have 28"),
    (Message("model", 0, VECTOR, 28), "no release"),
    (Message("model", 0, "text", 28, SHOWN), "as many vectors"),
    (Message("model", 0, (VECTOR,), 28, (SHOWN, SHOWN)), "as many vectors"),
    (Message("model", 0, np.array([object()]), 12, SHOWN), "as many vectors"),
    (Message("model", 0, (VECTOR, 1.0, 2.0), 44, SHOWN), "2 values beside"),
    (Message("model", 0, (VECTOR, VECTOR), 48, SHOWN), "1 values beside"),
    (Message("model", 0, (VECTOR, 1 << 64), 36, SHOWN), "values beside"),
    (Message("model", 0, (VECTOR, "text"), 36, SHOWN), "values beside"),
    (Message("model", 0, VECTOR, 28, Share((0, 0), 1, frozenset({1, 9}), 2, 0.5)), "expected Visible"),
    (Message("model", 0, VECTOR, 28, Entrusted(2, 1.0)), "expected Visible"),
    (Message("model", 0, VECTOR, 28, (Opened(()),)), "expected Visible"),
    (Message("masked", 0, (1, VECTOR), 28), "no release"),
    (Message("masked", 9, None, 28), "round"),
]


@pytest.mark.parametrize("message", GOOD)
def test_messages_of_the_declared_form_may_be_sent(message: Message) -> None:
    FORM.check(message)


@pytest.mark.parametrize(("message", "said"), BAD)
def test_what_no_ledger_counts_is_refused_wherever_a_message_may_hide_it(message: Message, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        FORM.check(message)


def exchanges() -> Iterator[tuple[type[Protocol], str]]:
    """Yield kinds that another package could write; an opener inside its group writes into the record itself."""
    for kind in dict.fromkeys(Protocol.kinds().values()):
        for exchange in choices_of(keys_of(kind)["exchange"].annotation):
            if not kind.pools_data and not kind.states_are_public and kind.words()[0] != "local":
                yield kind, exchange


@pytest.mark.parametrize(
    ("kind", "exchange"),
    covering(exchanges(), lambda one: one[0].words()[0] == "dsgd" and one[1] != "plain"),
    ids=lambda one: one if isinstance(one, str) else one.words()[0],
)
def test_a_shipped_protocol_is_the_same_under_guard(
    kind: type[Protocol], exchange: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What honest programs do is allowed, and a guard changes neither events nor values nor the record."""
    raw = {"kind": kind.words()[0], "rounds": 3, "exchange": exchange}
    scenario = _scenario(kind.model_validate(raw))
    if scenario.privacy is None:
        privacy = worlds.scenario_of(
            protocol={**raw, "kind": "dsgd", "exchange": "ldp"}, privacy=worlds.PRIVACY
        ).privacy
        scenario = scenario.model_copy(update={"privacy": privacy})
    calm = worlds.run(scenario, Path())
    form_of = declared.form_of
    monkeypatch.setattr(assembly, "plugin_of", lambda kind: ("others", "1.0"))
    monkeypatch.setattr(declared, "form_of", lambda *args: dataclasses.replace(form_of(*args), numbers=3))
    guarded = worlds.run(scenario, Path())
    assert (guarded.trace, guarded.entries) == (calm.trace, calm.entries)
    for node, model in calm.models.items():
        np.testing.assert_array_equal(guarded.models[node], model)


# ---------------------------------------------------------------- nodes and learners

Act = Callable[[Node, Learner], Awaitable[object]]


def refused(act: Act) -> BaseException:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        await act(node, learner)

    with pytest.raises(sv.ProgramError) as failed:
        sv.run("quickstart", changes=FEW, program=program)
    assert failed.value.__cause__ is not None
    return failed.value.__cause__


async def replaced(node: Node, learner: Learner) -> None:
    await dataclasses.replace(learner, sensitivity=1e-6).local_update(node, learner.start, 0)


async def copied(node: Node, learner: Learner) -> None:
    copy.copy(learner)


async def rebuilt(node: Node, learner: Learner) -> None:
    own = {one.name: getattr(learner, one.name) for one in dataclasses.fields(Learner)}
    await Learner(**own | {"sensitivity": 1e-6}).local_update(node, learner.start, 0)


async def contributed(node: Node, learner: Learner) -> None:
    learner.lineage.contribute(0.0, node.id, 0, 0, gain=1.0, sigma=9.0, sensitivity=1e-6)


async def quieted(node: Node, learner: Learner) -> None:
    learner.sigma[node.id] = 0.0  # type: ignore[index]


async def impersonated(node: Node, learner: Learner) -> None:
    class Quiet:
        """A node whose noise is zero."""

        def __getattr__(self, name: str) -> Any:
            return getattr(node, name)

        def rng(self, *key: Any) -> Any:
            raise AssertionError("asked for noise")

    await learner.local_update(Quiet(), learner.start, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (replaced, "cannot change its learner"),
        (copied, "cannot change its learner"),
        (rebuilt, "a program cannot vouch for others"),
        (contributed, "a program cannot vouch for others"),
        (quieted, "does not support item assignment"),
        (impersonated, "at the node that the program was given"),
    ],
)
def test_a_program_cannot_change_how_its_updates_are_bounded(act: Act, said: str) -> None:
    assert said in str(refused(act))


def test_fields_that_are_overwritten_change_no_update() -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        object.__setattr__(learner, "sensitivity", 1e-6)
        object.__setattr__(learner, "sigma", [1e6] * 99)
        await honest(node, learner, rounds)

    async def honest(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        sv.send_model(node, learner, node.neighbors, 0, await learner.local_update(node, learner.start, 0))
        await node.sleep(1.0)

    one, other = (sv.run("quickstart", changes=FEW, program=each) for each in (program, honest))
    assert one.epsilon_worst == other.epsilon_worst > 0


def reachable(found: object, wanted: object, seen: set[int], depth: int = 6) -> bool:
    """Return whether attributes, as a program reads them, lead from one object to another."""
    if found is wanted:
        return True
    if id(found) in seen or not depth or isinstance(found, str | bytes | int | float | np.ndarray | type):
        return False
    seen.add(id(found))
    names = [name for name in dir(found) if not name.startswith("__")] + ["__self__", "__wrapped__"]
    parts = [part for name in names if (part := getattr(found, name, None)) is not None]
    return any(reachable(part, wanted, seen, depth - 1) for part in parts)


def test_no_attribute_of_what_a_program_is_given_leads_to_what_is_guarded() -> None:
    class Raw:
        """A node."""

        def __init__(self) -> None:
            self.id, self.now_s, self.neighbors, self.suspects, self.disk = 0, 0.0, (1,), frozenset[int](), {}

        def send(self, to: int, message: Message) -> None: ...

    learner = build(worlds.scenario_of(), EagerExecutor(), Path()).learner
    raw: Any = Raw()
    guard = Guard(FORM, learner)
    node = guard.node(raw)
    assert reachable(raw, raw, set())
    for given in (node, guard.learner, guard):
        for kept in (raw, learner, learner.lineage):
            assert not reachable(given, kept, set())
    with pytest.raises(AttributeError):
        _ = node._node  # type: ignore[attr-defined]


def test_a_guarded_node_has_the_whole_contract() -> None:
    contract = {name for name in vars(Node) if not name.startswith("_")}
    assert {*declared._READ, *declared._CALLED, "send", "multicast"} == contract


# ---------------------------------------------------------------- what a program declares


def test_a_program_declares_its_messages() -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        node.multicast(node.neighbors, sv.Message("ask", 0, None, 8))
        model = await learner.local_update(node, learner.start, 0)
        node.multicast(node.neighbors, show(learner, "tell", 0, [model], (0.5,)))
        await node.sleep(1.0)

    with pytest.raises(sv.ProgramError, match="'ask' of round 0 is of no declared kind"):
        sv.run("quickstart", changes=FEW, program=program)
    program.messages = ("ask", "tell")  # type: ignore[attr-defined]
    with pytest.raises(sv.ProgramError, match="1 values beside its models"):
        sv.run("quickstart", changes=FEW, program=program)
    program.public_numbers = 1  # type: ignore[attr-defined]
    assert sv.run("quickstart", changes=FEW, program=program).epsilon_worst > 0


@pytest.mark.parametrize(("name", "value"), [("messages", "ask"), ("messages", [3]), ("public_numbers", -1)])
def test_a_declaration_that_is_none_is_refused_before_the_run(name: str, value: object) -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None: ...

    setattr(program, name, value)
    with pytest.raises(ConfigurationError, match=f"program: its attribute {name} must be"):
        sv.run("quickstart", changes=FEW, program=program)


# ---------------------------------------------------------------- tasks


def test_a_task_that_mixes_samples_is_refused_where_records_are_protected() -> None:
    from protocols.learning import models

    def centred(outputs: Any, y: Any) -> Any:
        return models.cross_entropy(outputs - outputs.mean(0), y)

    x = np.random.default_rng(0).normal(size=(200, 5))
    task = dataclasses.replace(models.softmax(5, 2), head=centred)
    own = FEW | {"model": {"kind": "softmax"}}
    with pytest.raises(ConfigurationError, match="losses of the head of a sample depend on other samples"):
        sv.run("quickstart", changes=own, data=(x, x[:, 0] > 0), task=task)
    nodes = own | {"privacy.unit": "node"}
    assert sv.run("quickstart", changes=nodes, data=(x, x[:, 0] > 0), task=task).status == "finished"


# ---------------------------------------------------------------- robust rules


class PeekingRule(UncentredRule):
    """The model that fits the own samples best, which it does not say."""

    kind: Literal["peeking"] = Field(description="looks at the own samples")

    def mix(self, heard: Any) -> Any:
        return heard.models[heard.losses().argmin()]

    def aggregate(self, x: Any) -> Any:
        return x[0]


def test_a_robust_rule_sees_the_own_samples_only_if_it_says_so() -> None:
    plain = {"kind": "dsgd", "rounds": 2, "exchange": "ldp", "robust": {"kind": "median"}}
    scenario = worlds.scenario_of(protocol=plain, privacy=worlds.PRIVACY)
    protocol = scenario.protocol.model_copy(update={"robust": PeekingRule(kind="peeking")})
    with pytest.raises(ContractError, match="looks at the own samples; say so"):
        worlds.run(scenario.model_copy(update={"protocol": protocol}), Path())
