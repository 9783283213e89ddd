import gc
import os
import subprocess
import sys
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.learning.eager import EagerExecutor
from protocols.learning.executor import BatchedExecutor, batch_class, batches
from simulator.contract.compute import Op
from simulator.errors import ConfigurationError, ContractError

D = 7
BANK = np.random.default_rng(0).standard_normal((40, D)).astype(np.float32)
ROTATE = Op("rotate", lambda v: jnp.roll(v, 1) * 0.5)
MIX = Op("mix", lambda a, b, weight: weight * a + (1 - weight) * b)
PULL = Op("pull", lambda v, row, bank: jnp.tanh(v) + bank[row], (BANK,))
SQUASH = Op("squash", lambda v: v / jnp.sqrt(1 + jnp.sum(v * v)))
OPS = (ROTATE, MIX, PULL, SQUASH)

step = st.tuples(st.sampled_from(OPS), st.integers(0, 10**6), st.integers(0, 10**6), st.floats(0, 1))
programs = st.lists(step, min_size=1, max_size=60)


def inputs_of(values, op, first, second, weight):
    a, b = values[first % len(values)], values[second % len(values)]
    return {ROTATE: [a], SQUASH: [a], MIX: [a, b, weight], PULL: [a, second % len(BANK)]}[op]


def execute(executor, program, read_after=()):
    values = [executor.constant(BANK[i]) for i in range(3)]
    for node, (op, first, second, weight) in enumerate(program):
        values.append(executor.submit(op, inputs_of(values, op, first, second, weight), node=node, size=D))
        if node in read_after:
            executor.read(values[-1:])
    return np.array(executor.read(values))


def assert_close(got, expected):
    error = np.linalg.norm(got - expected, axis=1)
    assert np.all(error <= 1e-5 * np.linalg.norm(expected, axis=1) + 1e-12)


@given(program=programs, max_pending=st.sampled_from([1, 7, 4096]), read_after=st.sets(st.integers(0, 60)))
@settings(deadline=None, max_examples=40)
def test_batched_execution_means_eager_execution(program, max_pending, read_after):
    batched = BatchedExecutor(max_pending=max_pending)
    assert_close(execute(batched, program, read_after), execute(EagerExecutor(), program))
    assert batched.ops == len(program)
    assert batched.pending == 0


@given(program=programs)
@settings(deadline=None, max_examples=20)
def test_the_same_program_gives_the_same_bits(program):
    first, second = (execute(BatchedExecutor(), program) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@given(order=st.permutations(range(20)))
@settings(deadline=None, max_examples=15)
def test_the_order_of_submission_within_a_level_does_not_matter(order):
    def run(sequence):
        executor = BatchedExecutor()
        handles = {
            i: executor.submit(PULL, [BANK[i], i], node=i, size=D) if i % 2 else
            executor.submit(ROTATE, [BANK[i]], node=i, size=D)
            for i in sequence
        }  # fmt: skip
        return np.array(executor.read([handles[i] for i in range(20)]))

    assert_close(run(order), run(range(20)))


def test_operations_of_one_kind_in_a_level_are_one_call():
    executor = BatchedExecutor()
    models = [executor.constant(BANK[i]) for i in range(16)]
    for _ in range(5):
        stepped = [executor.submit(PULL, [m, i], node=i, size=D) for i, m in enumerate(models)]
        models = [executor.submit(MIX, [stepped[i], stepped[i - 1], 0.5], node=i, size=D) for i in range(16)]
    assert (executor.pending, executor.calls) == (160, 0)
    executor.read(models[:1])
    assert (executor.pending, executor.calls, executor.ops, executor.compilations) == (0, 10, 160, 2)


def test_compilations_are_bounded_by_the_number_of_batch_classes():
    executor = BatchedExecutor(max_batch=32)
    for count in range(1, 80):
        handles = [executor.submit(ROTATE, [BANK[i % 40]], node=i, size=D) for i in range(count)]
        executor.read(handles)
    assert executor.compilations == 3  # batches of 8, 16 and 32
    assert executor.ops == sum(range(1, 80))


def test_jax_compiles_no_more_than_the_executor_says():
    traced = []
    op = Op("traced", lambda v: (traced.append(1), v + 1)[1])
    for _ in range(2):
        executor = BatchedExecutor()
        for count in (3, 8, 5, 12, 16, 9):
            executor.read([executor.submit(op, [BANK[0]], node=i, size=D) for i in range(count)])
        assert executor.compilations == 2
    assert len(traced) == 2  # the second executor reused what the first had compiled


def test_batch_classes():
    assert [batch_class(n) for n in (1, 8, 9, 16, 17, 255, 256)] == [8, 8, 16, 16, 32, 256, 256]


def test_different_shapes_do_not_share_a_batch():
    executor = BatchedExecutor()
    short, long = (executor.submit(ROTATE, [np.ones(n, np.float32)], node=n, size=n) for n in (3, 9))
    assert [len(v) for v in executor.read([short, long])] == [3, 9]
    assert (short.size, long.size, executor.calls) == (3, 9, 2)


@pytest.mark.parametrize("make", [EagerExecutor, BatchedExecutor])
class TestBoth:
    def test_inputs_are_fixed_when_they_are_submitted(self, make):
        executor, array = make(), np.ones(D, dtype=np.float32)
        constant = executor.constant(array)
        handle = executor.submit(ROTATE, [array], node=0, size=D)
        view = array.view()
        view.setflags(write=False)
        through_view = executor.submit(ROTATE, [view], node=0, size=D)
        array[:] = 5
        got = executor.read([constant, handle, through_view])
        np.testing.assert_array_equal(got[0], np.ones(D))
        np.testing.assert_array_equal(got[1], np.full(D, 0.5))
        np.testing.assert_array_equal(got[2], np.full(D, 0.5))

    def test_values_are_read_only_float32(self, make):
        executor = make()
        count = executor.submit(Op("count", lambda v: jnp.arange(3)), [BANK[0]], node=0, size=3)
        for value in executor.read([executor.constant(np.arange(3)), count]):
            assert value.dtype == np.float32
            np.testing.assert_array_equal(value, [0, 1, 2])
            with pytest.raises(ValueError, match="read-only"):
                value[0] = 1

    def test_numbers_become_32_bit_inputs(self, make):
        seen = []
        op = Op("kinds", lambda *args: (seen.append([a.dtype.name for a in args]), args[0] + 0.0)[1])
        executor = make()
        arrays = [np.float64(2), 3, 0.5, True, np.arange(2), np.uint8(1)]
        assert executor.read([executor.submit(op, arrays, node=0, size=1)])[0] == 2.0
        assert seen == [["float32", "int32", "float32", "bool", "int32", "uint8"]]

    def test_nothing_is_too_large_or_too_odd_to_be_refused_in_words(self, make):
        executor = make()
        with pytest.raises(ContractError, match="operation 'rotate' of node 4: an integer outside 32 bits"):
            executor.submit(ROTATE, [2**40], node=4, size=1)
        with pytest.raises(ContractError, match="type list"):
            executor.submit(ROTATE, [[1.0]], node=4, size=1)
        with pytest.raises(ContractError, match="complex128"):
            executor.submit(ROTATE, [np.ones(2) * 1j], node=4, size=2)

    def test_divergence_is_a_value_and_not_an_error(self, make):
        executor = make()
        handle = executor.submit(ROTATE, [np.full(D, 1e300)], node=0, size=D)
        assert np.isinf(executor.read([handle])[0]).all()

    def test_a_failing_operation_is_named_with_its_node(self, make):
        executor = make()
        with pytest.raises(
            ContractError, match=r"operation 'mix' of node 3 failed.*\(7,\).*\(3,\)"
        ) as caught:
            executor.read([executor.submit(MIX, [BANK[0], BANK[0, :3], 0.5], node=3, size=D)])
        assert caught.value.__cause__ is not None

    def test_a_wrong_promise_of_size_is_refused(self, make):
        executor = make()
        with pytest.raises(ContractError, match=r"node 2: 7 elements per result, but \[8\] were promised"):
            executor.read([executor.submit(ROTATE, [BANK[0]], node=2, size=D + 1)])

    def test_an_operation_without_inputs(self, make):
        executor = make()
        op = Op("first", lambda bank: bank[0], (BANK,))
        handles = [executor.submit(op, [], node=i, size=D) for i in range(3)]
        for value in executor.read(handles):
            np.testing.assert_array_equal(value, BANK[0])

    def test_foreign_handles_are_refused(self, make):
        class Foreign:
            size = D

        executor, other = make(), BatchedExecutor()
        pending = other.submit(ROTATE, [BANK[0]], node=0, size=D)
        with pytest.raises(ContractError, match="pending handle of another executor"):
            executor.submit(ROTATE, [pending], node=1, size=D)
        for handle in (pending, Foreign()):
            with pytest.raises(ContractError, match="not a handle of this executor"):
                executor.read([handle])
        # Once it has a value, a handle is just a value.
        expected = other.read([pending])[0]
        turned = executor.submit(ROTATE, [pending], node=1, size=D)
        np.testing.assert_array_equal(executor.read([turned])[0], np.roll(expected, 1) * np.float32(0.5))


def test_a_failing_batch_names_its_nodes_and_fails_the_same_way_again():
    executor = BatchedExecutor()
    good = executor.submit(ROTATE, [BANK[0]], node=9, size=D)
    bad = [executor.submit(MIX, [BANK[0], BANK[0, :3], 0.5], node=i, size=D) for i in (4, 2, 6)]
    after = executor.submit(ROTATE, [bad[0]], node=4, size=D)
    for handle in (after, bad[1], after):
        with pytest.raises(ContractError, match="operation 'mix' of nodes 4, 2, 6 failed"):
            executor.read([handle])
    np.testing.assert_array_equal(executor.read([good])[0], np.roll(BANK[0], 1) * 0.5)
    assert executor.pending == 4
    assert executor.ops == 1


def test_long_lists_of_nodes_are_cut():
    executor = BatchedExecutor()
    with pytest.raises(ContractError, match=r"nodes 0, 1, .*, 15, … failed"):
        executor.read([executor.submit(MIX, [BANK[0], BANK[0, :3], 0.5], node=i, size=D) for i in range(40)])


def test_pending_work_is_bounded():
    executor = BatchedExecutor(max_pending=10)
    value = executor.constant(BANK[0])
    for i in range(25):
        value = executor.submit(ROTATE, [value], node=0, size=D)
        assert executor.pending == (i + 1) % 10
    assert executor.ops == 20


def test_arrays_that_wait_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr("protocols.learning.executor._GIVEN_BYTES", 1 << 20)
    executor, size = BatchedExecutor(), 1 << 14
    pull = Op("add", lambda v, noise: v + noise)
    value = executor.constant(np.zeros(size))
    for _ in range(17):  # 64 KiB each
        value = executor.submit(pull, [value, np.ones(size, np.float32)], node=0, size=size)
    assert executor.pending == 0


def test_values_nobody_holds_are_freed():
    executor = BatchedExecutor()
    start = executor.constant(BANK[0])
    released = weakref.ref(start)
    middle = executor.submit(ROTATE, [start], node=0, size=D)
    end = executor.submit(ROTATE, [middle], node=0, size=D)
    watched = [weakref.ref(middle), weakref.ref(end)]
    del start, middle
    value = executor.read([end])[0]
    gc.collect()
    assert released() is None
    assert watched[0]() is None
    assert watched[1]() is end
    rows = end._rows
    assert rows.used == 1
    del end
    gc.collect()
    assert watched[1]() is None
    assert rows.used == 0  # the row is free for another value; what was read is a copy
    np.testing.assert_array_equal(value, np.roll(BANK[0], 2) * 0.25)


def test_rows_are_written_anew_and_never_while_somebody_holds_them():
    executor = BatchedExecutor()
    held = executor.submit(ROTATE, [BANK[0]], node=0, size=D)
    first = executor.read([held])[0]
    for round in range(50):
        passing = [executor.submit(PULL, [held, i], node=i, size=D) for i in range(40)]
        executor.read(passing[round % 40 : round % 40 + 1])
    assert held._rows.used == 41
    np.testing.assert_array_equal(executor.read([held])[0], first)


def test_rows_grow_and_keep_what_they_hold():
    executor = BatchedExecutor(max_pending=10**6)
    size = 4096
    vectors = np.random.default_rng(1).standard_normal((1300, size)).astype(np.float32)
    double = Op("double", lambda v: 2 * v)
    handles = [executor.submit(double, [v], node=i, size=size) for i, v in enumerate(vectors)]
    first = executor.read(handles[:1])[0]
    capacity = handles[0]._rows.capacity
    handles += [executor.submit(double, [h], node=i, size=size) for i, h in enumerate(handles)]
    values = executor.stack(handles)
    assert handles[0]._rows.capacity > capacity
    np.testing.assert_array_equal(first, 2 * vectors[0])
    np.testing.assert_array_equal(values, np.concatenate([2 * vectors, 4 * vectors]))
    assert executor.bytes_held == handles[0]._rows.capacity * size * 4


def test_what_nobody_holds_is_never_computed():
    executor = BatchedExecutor()
    kept = executor.submit(ROTATE, [BANK[0]], node=0, size=D)
    crashed = executor.submit(ROTATE, [BANK[1]], node=1, size=D)
    crashed = executor.submit(SQUASH, [crashed], node=1, size=D)
    del crashed
    used_later = executor.submit(ROTATE, [BANK[2]], node=2, size=D)
    used_later = executor.submit(SQUASH, [used_later], node=2, size=D)
    executor.read([kept, used_later])
    assert (executor.ops, executor.dropped, executor.pending) == (3, 2, 0)


def test_vectors_of_several_sizes_meet_in_one_operation():
    executor = BatchedExecutor()
    long = [executor.submit(ROTATE, [np.full(2 * D, i, np.float32)], node=i, size=2 * D) for i in range(5)]
    short = [executor.submit(ROTATE, [np.full(D, i, np.float32)], node=i, size=D) for i in range(5)]
    head = Op("head", lambda a, b: a + b[: a.size])
    joined = Op("joined", lambda a, b: jnp.concatenate([a, b]))
    sums = [executor.submit(head, [s, x], node=0, size=D) for s, x in zip(short, long, strict=True)]
    both = [executor.submit(joined, [s, x], node=0, size=3 * D) for s, x in zip(sums, long, strict=True)]
    np.testing.assert_array_equal(executor.stack(sums), np.arange(5)[:, None] * np.ones(D))
    assert executor.stack(both).shape == (5, 3 * D)
    with pytest.raises(ContractError, match=r"vectors of sizes \[7, 14\]"):
        executor.stack([short[0], long[0]])


def test_batches_pad_little_and_come_in_few_sizes():
    for most in (8, 64, 1024):
        for count in range(1, 3000, 7):
            cut = list(batches(count, most))
            assert sum(rows for rows, _ in cut) == count
            assert {padded for _, padded in cut} <= {8 << k for k in range(8)}
            assert max(padded for _, padded in cut) <= most
            wasted = sum(padded - rows for rows, padded in cut)
            assert wasted <= max(16, 0.25 * count)


@given(program=programs)
@settings(deadline=None, max_examples=20)
def test_in_double_precision_batches_and_single_operations_agree_to_the_last_digits(program):
    batched = execute(BatchedExecutor(dtype=np.float64), program)
    eager = execute(EagerExecutor(dtype=np.float64), program)
    assert batched.dtype == eager.dtype == np.float64
    error = np.linalg.norm(batched - eager, axis=1)
    assert np.all(error <= 1e-12 * np.linalg.norm(eager, axis=1) + 1e-300)


def test_the_eager_executor_can_refuse_what_is_not_finite():
    blow_up = Op("blow up", lambda v: v / 0)
    with pytest.raises(
        ContractError, match=r"operation 'blow up' of node 5: element 0 is inf.*float32\(7,\)"
    ):
        EagerExecutor(finite=True).submit(blow_up, [np.ones(D)], node=5, size=D)


@pytest.mark.slow
def test_several_devices_compute_what_one_computes():
    code = """
import jax, numpy as np
from protocols.learning.executor import BatchedExecutor
from tests.protocols.learning.test_executor import execute, OPS, BANK
assert len(jax.devices()) == 4
rng = np.random.default_rng(3)
program = [(OPS[rng.integers(4)], *map(int, rng.integers(0, 10**6, 2)), float(rng.random())) for _ in range(300)]
spread = BatchedExecutor()
many = execute(spread, program)
one = execute(BatchedExecutor(devices=jax.devices()[:1]), program)
(rows,) = spread._rows.values()
assert len(rows._array.sharding.device_set) == 4, rows._array.sharding
assert rows._array.addressable_shards[0].data.shape[0] == rows.capacity // 4
error = np.linalg.norm(many - one, axis=1)
assert np.all(error <= 1e-6 * np.linalg.norm(one, axis=1)), error.max()
"""
    flags = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=flags, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("bad", [{"max_pending": 0}, {"max_batch": 12}, {"max_batch": 4}, {"max_batch": 0}])
def test_bounds_out_of_range_are_refused(bad):
    with pytest.raises(ConfigurationError, match="executor: max_"):
        BatchedExecutor(**bad)


def test_importing_the_package_leaves_the_configuration_of_jax_alone():
    assert not jax.config.jax_enable_x64
    assert not jax.config.jax_debug_nans
