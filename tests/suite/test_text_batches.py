"""Batches of language data: every target once, in order, never across documents, and the same for a resumed run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.data.text.batches import CarriedBatches, WindowBatches, evaluation_carried, evaluation_strided
from suite.data.text.documents import join
from suite.data.text.split import TextSplit

BEGIN = 5_000

lengths = st.lists(st.integers(0, 23), min_size=1, max_size=7).filter(any)
sizes = st.integers(1, 9)


def split_of(sizes: list[int]) -> TextSplit:
    """Documents whose tokens all differ and say where they stand: 100 d + i for token i of document d (from 1)."""
    documents = [(100 * d + np.arange(size), 2 * size, size // 2) for d, size in enumerate(sizes, 1)]
    arrays = join(documents, np.dtype(np.uint16))
    return TextSplit(arrays.tokens, arrays.offsets, arrays.bytes, arrays.words, BEGIN)


def counted(batches) -> np.ndarray:
    """The targets that count, of all batches."""
    return np.concatenate([batch.targets[batch.mask] for batch in batches])


def follows(batch, split: TextSplit) -> None:
    """Every input that is read with a counting target is the token before it, or begin."""
    for inputs, targets, mask in zip(batch.inputs, batch.targets, batch.mask, strict=True):
        for before, target in zip(inputs[mask].tolist(), targets[mask].tolist(), strict=True):
            assert before == (BEGIN if target % 100 == 0 else target - 1)
    assert batch.inputs.dtype == batch.targets.dtype == np.int32
    assert batch.mask.dtype == batch.start.dtype == bool


def same(left, right) -> None:
    for name in ("inputs", "targets", "mask", "start"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def everything(split: TextSplit) -> list[int]:
    return split.tokens.tolist()


@settings(max_examples=80, deadline=None)
@given(lengths, sizes, sizes, st.integers(0, 3), st.booleans())
def test_an_epoch_of_carried_batches_counts_every_target_once(documents, batch_size, segment, seed, shuffle):
    split = split_of(documents)
    batches = CarriedBatches(split, batch_size, segment, seed, shuffle)
    for epoch in range(2):
        epoch_batches = [batches.batch(epoch * batches.steps + step) for step in range(batches.steps)]
        assert sorted(counted(epoch_batches)) == everything(split)
        for batch in epoch_batches:
            follows(batch, split)
            assert batch.inputs.shape == (batch_size, segment)
            assert batch.mask.any()


@settings(max_examples=80, deadline=None)
@given(lengths, sizes, sizes, st.integers(0, 3), st.booleans())
def test_rows_of_carried_batches_go_on_where_they_stopped(documents, batch_size, segment, seed, shuffle):
    split = split_of(documents)
    batches = CarriedBatches(split, batch_size, segment, seed, shuffle)
    steps = [batches.batch(step) for step in range(2 * batches.steps)]
    for row in range(batch_size):
        last = None
        for step, batch in enumerate(steps):
            targets = batch.targets[row][batch.mask[row]]
            held = set((targets // 100).tolist())
            assert len(held) <= 1, "a segment holds one document"
            np.testing.assert_array_equal(batch.mask[row], np.arange(segment) < len(targets))
            if step % batches.steps == 0 or not len(targets):
                assert batch.start[row]
            elif batch.start[row]:
                assert targets[0] % 100 == 0
            else:
                assert last is not None
                assert targets[0] == last + 1
            last = targets[-1] if len(targets) else None


def test_documents_keep_their_order_and_shuffled_ones_have_another_in_each_epoch():
    split = split_of([4, 9, 1, 6, 12, 3, 8, 2])
    ordered = CarriedBatches(split, 1, 4, 0, shuffle=False)
    assert counted([ordered.batch(step) for step in range(ordered.steps)]).tolist() == everything(split)
    shuffled = CarriedBatches(split, 1, 4, 0, shuffle=True)
    orders = []
    for epoch in range(3):
        targets = counted([shuffled.batch(epoch * shuffled.steps + step) for step in range(shuffled.steps)])
        orders.append((targets[targets % 100 == 0] // 100).tolist())
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == list(range(1, 9)) for order in orders)


def test_one_long_document_keeps_every_row_busy():
    batches = CarriedBatches(split_of([64]), 4, 4, 0, shuffle=False)
    assert batches.steps == 4
    for step in range(4):
        batch = batches.batch(step)
        assert batch.mask.all()
        assert batch.start.tolist() == [step == 0] * 4
        assert batch.targets[:, 0].tolist() == [100 + 16 * row + 4 * step for row in range(4)]


@settings(max_examples=40, deadline=None)
@given(lengths, sizes, sizes, st.integers(0, 3), st.integers(0, 30))
def test_a_batch_is_a_pure_function_of_its_step(documents, batch_size, length, seed, step):
    split = split_of(documents)
    for make in (
        lambda: CarriedBatches(split, batch_size, length, seed, shuffle=True),
        lambda: WindowBatches(split, batch_size, length, seed),
    ):
        running = make()
        for before in range(step):
            running.batch(before)
        same(running.batch(step), make().batch(step))


@settings(max_examples=80, deadline=None)
@given(lengths, sizes, sizes, st.integers(0, 3))
def test_an_epoch_of_windows_counts_every_target_once(documents, batch_size, length, seed):
    split = split_of(documents)
    batches = WindowBatches(split, batch_size, length, seed)
    for epoch in range(2):
        epoch_batches = [batches.batch(epoch * batches.steps + step) for step in range(batches.steps)]
        assert sorted(counted(epoch_batches)) == everything(split)
        for batch in epoch_batches:
            follows(batch, split)
            assert batch.start.all()
            assert batch.inputs.shape == (batch_size, length)


def test_windows_are_shuffled_by_seed_and_epoch():
    split = split_of([96])
    orders = {
        tuple(counted([batches.batch(epoch * batches.steps + step) for step in range(batches.steps)]).tolist())
        for batches in (WindowBatches(split, 2, 8, seed) for seed in (0, 1))
        for epoch in (0, 1)
    }
    assert len(orders) == 4


@settings(max_examples=80, deadline=None)
@given(lengths, sizes, sizes)
def test_carried_evaluation_reads_whole_documents_once(documents, batch_size, segment):
    split = split_of(documents)
    batches = list(evaluation_carried(split, batch_size, segment))
    assert sorted(counted(batches)) == everything(split)
    rows = min(batch_size, sum(1 for size in documents if size))
    for row in range(rows):
        last = None
        for batch in batches:
            follows(batch, split)
            assert batch.inputs.shape == (rows, segment)
            targets = batch.targets[row][batch.mask[row]]
            if len(targets) and batch.start[row]:
                assert targets[0] % 100 == 0
            elif len(targets):
                assert targets[0] == last + 1
            else:
                assert batch.start[row]
            last = targets[-1] if len(targets) else None


@settings(max_examples=120, deadline=None)
@given(lengths, sizes, sizes, sizes)
def test_strided_evaluation_counts_every_target_once_with_its_context(documents, batch_size, length, stride):
    split = split_of(documents)
    if stride > length:
        with pytest.raises(ValueError, match="stride"):
            next(evaluation_strided(split, batch_size, length, stride))
        return
    batches = list(evaluation_strided(split, batch_size, length, stride))
    assert counted(batches).tolist() == everything(split)
    for batch in batches:
        follows(batch, split)
        assert batch.start.all()
        for inputs, targets, mask in zip(batch.inputs, batch.targets, batch.mask, strict=True):
            assert mask.any()
            place, target = int(np.flatnonzero(mask)[0]), int(targets[mask][0])
            assert place == 0 if target % 100 < length else place == length - stride
            assert inputs[:place].tolist() == [BEGIN if i % 100 == 0 else i - 1 for i in range(target - place, target)]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"segment": 0}])
def test_sizes_are_checked_by_name(wrong):
    split = split_of([3])
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CarriedBatches(split, **({"batch_size": 1, "segment": 2} | wrong), seed=0, shuffle=False)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        next(evaluation_carried(split, **({"batch_size": 1, "segment": 2} | wrong)))
    for batches in (CarriedBatches(split, 1, 2, 0, shuffle=False), WindowBatches(split, 1, 2, 0)):
        with pytest.raises(ValueError, match="step is -1"):
            batches.batch(-1)


def test_a_split_without_tokens_is_named():
    with pytest.raises(ValueError, match="no tokens"):
        WindowBatches(split_of([0, 0]), 1, 2, 0)
