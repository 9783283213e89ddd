"""What sottovoce asks of the kinds of this package."""

from pathlib import Path

import pytest
from sottovoce_example.attack import MinMaxAttack
from sottovoce_example.latency import ShiftedExponentialLaw
from sottovoce_example.protocol import BroadcastProtocol
from sottovoce_example.rule import PhocasRule

import sottovoce as sv
from sottovoce.testing import check_kind

SCENARIO = Path(__file__).parent.parent / "scenario.toml"


@pytest.mark.parametrize("kind", [ShiftedExponentialLaw, PhocasRule, MinMaxAttack, BroadcastProtocol])
def test_a_kind_respects_what_its_family_promises(kind):
    """The battery raises AssertionError with a line for each requirement that does not hold."""
    check_kind(kind)


def test_the_kinds_are_installed():
    """Entry points bring them, so that a scenario can name them."""
    assert "shifted-exponential" in sv.kinds("network.latency")
    assert "phocas" in sv.kinds("protocol.robust")
    assert "min-max" in sv.kinds("adversary.byzantine.attack")
    assert "broadcast" in sv.kinds("protocol")


def test_the_scenario_learns_under_attack():
    """One of twelve nodes attacks."""
    run = sv.run(SCENARIO)
    assert run.accuracy_mean > 0.8
    assert run.manifest["plugins"]["protocol.robust"] == "sottovoce-example 1.0.0"
