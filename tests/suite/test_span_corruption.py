"""Span corruption: T5's counts, the same on every machine, and the text can be restored."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.data.span_corruption import Corrupted, corrupt, counts, noise_mask, restore

FIRST = 32_099

PINNED = (
    [
        100,
        101,
        102,
        103,
        104,
        105,
        106,
        107,
        108,
        109,
        110,
        111,
        112,
        113,
        114,
        115,
        116,
        117,
        118,
        119,
        120,
        121,
        122,
        123,
        124,
        125,
        126,
        32099,
        131,
        132,
        133,
        134,
        135,
        136,
        137,
        32098,
    ],
    [32099, 127, 128, 129, 130, 32098, 138, 139],
)


def test_the_example_is_pinned():
    found = corrupt(np.arange(100, 140), 7, FIRST)
    assert (found.inputs.tolist(), found.targets.tolist()) == PINNED


def test_counts_are_those_of_t5():
    """512 tokens: 77 corrupted ones (0.15 of them, rounded) in 26 spans of about 3."""
    assert counts(512) == (77, 26)
    assert counts(568) == (85, 28)
    assert counts(2) == (1, 1)
    assert counts(10, 0.9, 1.0) == (9, 1)
    mask = noise_mask(512, 0)
    assert mask.sum() == 77
    assert (np.diff(mask.astype(int)) == 1).sum() == 26
    assert not mask[0]
    assert mask[-1]


@given(
    length=st.integers(2, 300),
    seed=st.integers(0, 2**32),
    density=st.floats(0.01, 0.99),
    mean=st.floats(1.0, 20.0),
)
@settings(max_examples=200, deadline=None)
def test_the_text_is_restored(length, seed, density, mean):
    tokens = np.random.default_rng(length).integers(0, 1_000, length)
    found = corrupt(tokens, seed, FIRST, density, mean)
    np.testing.assert_array_equal(restore(found, FIRST), tokens)
    noise, spans = counts(length, density, mean)
    assert len(found.inputs) == length - noise + spans
    assert len(found.targets) == noise + spans
    sentinels = FIRST - np.arange(spans)
    for part in (found.inputs, found.targets):
        np.testing.assert_array_equal(part[part >= 1_000], sentinels)
    assert found.targets[0] == FIRST


def test_a_pure_function_of_tokens_and_seed():
    tokens = np.arange(200)
    first, again, other = (corrupt(tokens, seed, FIRST) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert first.inputs.tolist() != other.inputs.tolist()
    assert tokens.tolist() == list(range(200))


def test_every_token_but_the_ends_is_corrupted_about_as_often():
    """The first token never is and the last always; spans have 3 tokens on average, of many lengths."""
    masks = np.stack([noise_mask(100, seed) for seed in range(2_000)])
    rates = masks.mean(0)
    assert rates[0] == 0
    assert rates[-1] == 1
    assert np.abs(rates[10:85] - 0.15).max() < 0.05
    edges = np.diff(np.pad(masks.astype(int), ((0, 0), (1, 1))), axis=1)
    lengths = np.argwhere(edges == -1)[:, 1] - np.argwhere(edges == 1)[:, 1]
    assert lengths.mean() == 3.0
    assert set(range(1, 9)) <= set(lengths.tolist())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: corrupt(np.arange(1), 0, FIRST), "length is 1: expected at least 2 tokens"),
        (lambda: corrupt(np.zeros((2, 3), int), 0, FIRST), r"tokens have shape \(2, 3\) of int64: expected \(L,\)"),
        (lambda: corrupt(np.arange(40), 0, 39), "tokens hold one of the 2 sentinels down from 39"),
        (lambda: corrupt(np.arange(4), 0, FIRST, 1.0), "noise_density is 1.0: expected 0 < noise_density < 1"),
        (lambda: corrupt(np.arange(4), 0, FIRST, 0.5, 0.5), "mean_span_length is 0.5: expected at least 1 token"),
        (lambda: restore(Corrupted(np.array([1, FIRST]), np.array([5])), FIRST), "inputs and targets differ"),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        call()
