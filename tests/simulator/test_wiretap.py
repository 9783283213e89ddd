"""What an eavesdropper on links keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.adversary.coalition import Adversary
from simulator.adversary.wiretap import TappedMessage, Wiretap
from simulator.contract.node import Message
from simulator.errors import ConfigurationError
from tests.support.memory import reachable

SECRET = Message("model", 3, ("a body", np.arange(4.0)), 100, release="a release")


def test_an_encrypted_link_shows_times_endpoints_and_size() -> None:
    tap = Wiretap()
    row = tap.sent(1.5, 0, 1, SECRET, 140)
    assert list(tap.rows()) == [TappedMessage(1.5, None, 0, 1, 140, None, None, None)]
    tap.arrived(row, 1.75)
    assert list(tap.rows()) == [TappedMessage(1.5, 1.75, 0, 1, 140, None, None, None)]
    assert len(tap) == 1


def test_what_encryption_hides_is_not_even_kept() -> None:
    sealed, plain = Wiretap(), Wiretap(encrypted=False)
    for tap in (sealed, plain):
        tap.sent(1.5, 0, 1, SECRET, 140)
    hidden = {id(SECRET), id(SECRET.body), id(SECRET.body[1]), id(SECRET.release), id(SECRET.kind)}
    assert not hidden & reachable(sealed).keys()
    assert hidden & reachable(plain).keys() == {id(SECRET.body), id(SECRET.body[1]), id(SECRET.kind)}


def test_an_open_link_shows_content_and_no_release() -> None:
    tap = Wiretap(encrypted=False)
    tap.sent(1.5, 0, 1, SECRET, 140)
    (row,) = tap.rows()
    assert (row.kind, row.round, row.body) == ("model", 3, SECRET.body)


def test_which_links_are_seen() -> None:
    assert Wiretap().sees(4, 9)
    some = Wiretap(frozenset({(0, 1)}))
    assert some.sees(0, 1)
    assert not some.sees(1, 0)


@given(
    st.lists(
        st.tuples(st.floats(0, 1e6), st.integers(0, 9), st.integers(0, 9), st.integers(0, 2**40)), max_size=20
    ),
    st.data(),
)
def test_rows_are_what_was_noted(sent: list[tuple[float, int, int, int]], data: st.DataObject) -> None:
    tap = Wiretap(encrypted=False)
    numbers = [tap.sent(t_s, src, dst, SECRET, size) for t_s, src, dst, size in sent]
    arrived = {i: t_s for i, (t_s, *_) in enumerate(sent) if data.draw(st.booleans())}
    for i, t_s in arrived.items():
        tap.arrived(numbers[i], t_s + 1)
    rows = list(tap.rows())
    assert [(r.left_s, r.src, r.dst, r.size_bytes) for r in rows] == sent
    assert {i: r.arrived_s for i, r in enumerate(rows) if r.arrived_s is not None} == {
        i: t_s + 1 for i, t_s in arrived.items()
    }


@pytest.mark.parametrize("link", [(0, 0), (0,), (0, 1, 2), (-1, 2), "01", 3])
def test_what_is_no_link_is_refused(link: Any) -> None:
    with pytest.raises(ConfigurationError, match="is no link"):
        Wiretap(frozenset({link}))
    with pytest.raises(ConfigurationError, match="is no link"):
        Adversary(on_links={link: lambda context, dst, message: ()})


def test_a_tap_on_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="hears nothing"):
        Wiretap(frozenset())
