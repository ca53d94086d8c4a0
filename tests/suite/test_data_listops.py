"""ListOps: meaning against the authors' values, the generator's properties, distribution and bits."""

import csv
import gzip
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from suite.data import listops, listops_generator
from suite.data.errors import SettingsError
from suite.data.listops import ListOpsSettings
from suite.data.listops_generator import generate
from suite.data.listops_trees import candidates
from suite.data.sequences import Sequences
from suite.data.settings import SPLITS
from suite.data.words import below, philox_words, split

GOLDEN = Path(__file__).parents[1] / "golden" / "listops"
INNERMOST = re.compile(r"\[(MIN|MAX|MED|SM)((?: \d)+) \]")


def text(tokens: np.ndarray) -> str:
    return " ".join(listops.VOCABULARY[token] for token in tokens)


def sequences(data: Sequences) -> list[np.ndarray]:
    return [data.tokens[a:b] for a, b in zip(data.offsets[:-1], data.offsets[1:], strict=True)]


def reduce_text(expression: str) -> int:
    """The value by rewriting innermost brackets, independent of the stack evaluator and of the vectorised one."""
    meaning = {
        "MIN": min,
        "MAX": max,
        "MED": lambda digits: int(np.median(digits)),
        "SM": lambda digits: int(np.sum(digits)) % 10,
    }
    while expression.startswith("["):
        expression = INNERMOST.sub(lambda m: str(meaning[m[1]]([int(d) for d in m[2].split()])), expression)
    return int(expression)


def structure(tokens: np.ndarray) -> tuple[int, list[int]]:
    """Deepest nesting of operators and the number of arguments of each operator."""
    open_counts, arity, deepest = [], [], 0
    for token in tokens:
        if listops.MIN <= token <= listops.SM:
            open_counts.append(0)
            deepest = max(deepest, len(open_counts))
            continue
        if token == listops.CLOSE:
            arity.append(open_counts.pop())
        if open_counts:
            open_counts[-1] += 1
    assert not open_counts
    return deepest, arity


@pytest.fixture(scope="module")
def released_statistics() -> dict:
    return json.loads((GOLDEN / "listops_stats_5000.json").read_text())


@pytest.fixture(scope="module")
def sample() -> Sequences:
    return generate(ListOpsSettings(train=4000, validation=1, test=1, seed=7))["train"]


def test_authors_sequences_evaluate_to_their_targets():
    with gzip.open(GOLDEN / "listops_300.tsv.gz", "rt", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    assert len(rows) == 300
    for source, target in rows:
        tokens = listops.encode(source)
        assert listops.evaluate(tokens) == int(target)
        assert 500 < len(tokens) < 2000
        assert text(np.frombuffer(tokens, np.uint8)).split() == source.replace("(", "").replace(")", "").split()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7", 7),
        ("[MED 1 2 ]", 1),
        ("[MED 9 1 4 ]", 4),
        ("[MED 9 8 1 2 ]", 5),
        ("[SM 9 9 9 ]", 7),
        ("( ( ( [MIN 3 ) 2 ) ] )", 2),
        ("[MAX [MIN 4 6 ] [SM 5 6 ] ]", 4),
    ],
)
def test_values_by_definition(expression, value):
    assert listops.evaluate(listops.encode(expression)) == value


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("", "empty"),
        ("3 4", "more than one"),
        ("]", "closing bracket"),
        ("[MAX ]", "no arguments"),
        ("[MAX 1 [MED 2", r"\[MED is never closed"),
        ("[FIRST 1 2 ]", r"unknown token '\[FIRST'"),
    ],
)
def test_malformed_expressions_are_named(expression, fault):
    with pytest.raises(ValueError, match=fault):
        listops.evaluate(listops.encode(expression))


def test_vocabulary_is_the_documented_one():
    assert listops.VOCABULARY == (
        "<pad>", "<unk>", "<eos>", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "[MIN", "[MAX", "[MED", "[SM", "]",
    )  # fmt: skip
    assert listops.VOCABULARY_SHA256 == "1110a21e89ea9a5061481a5550f4b3c826a074b9a4bd6fbc529868f58fe6e77f"
    assert ListOpsSettings().maximum_length == 2048


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 by its definition (Salmon et al. 2011, section 3.3) in Python integers."""
    for _ in range(10):
        high_0, low_0 = divmod(0xD2E7470EE14C6C93 * counter[0], 2**64)
        high_1, low_1 = divmod(0xCA5A826395121157 * counter[2], 2**64)
        counter = [high_1 ^ counter[1] ^ key[0], low_1, high_0 ^ counter[3] ^ key[1], low_0]
        key = [(key[0] + 0x9E3779B97F4A7C15) % 2**64, (key[1] + 0xBB67AE8584CAA73B) % 2**64]
    return counter


def test_words_are_philox4x64():
    """The definition meets the known answer of the authors' library (all zero); our streams start at counter 1."""
    zero = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox4x64([0, 0, 0, 0], [0, 0]) == zero
    for seed, stream in ((0, 0), (3, 5), (2**64 - 1, 2**63 + 9)):
        expected = [word for block in (1, 2, 3) for word in philox4x64([block, 0, 0, 0], [seed, stream])]
        assert philox_words(seed, stream, 0, 12).tolist() == expected


def test_split_is_splitmix64():
    """Known answers of the reference implementation for seed 1234567."""
    words = split(np.array([1234567], dtype=np.uint64), np.array([5]))
    assert words.tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821,
    ]  # fmt: skip


def test_words_do_not_depend_on_where_a_stream_is_entered():
    whole = philox_words(3, 5, 0, 50)
    for start in (0, 1, 4, 7, 31):
        np.testing.assert_array_equal(philox_words(3, 5, start, 10), whole[start : start + 10])
    assert not np.array_equal(philox_words(3, 6, 0, 50), whole)


def test_below_covers_its_range_evenly():
    counts = np.bincount(below(philox_words(0, 0, 0, 90_000), 9, 28), minlength=9)
    assert len(counts) == 9
    assert abs(counts - 10_000).max() < 500


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**63 - 1),
    min_length=st.integers(0, 80),
    width=st.integers(2, 400),
    max_depth=st.integers(1, 12),
    max_args=st.integers(2, 30),
)
def test_tokens_evaluate_to_the_label_within_all_bounds(seed, min_length, width, max_depth, max_args):
    chosen = ListOpsSettings(
        seed=seed, min_length=min_length, max_length=min_length + width, max_depth=max_depth, max_args=max_args
    )
    found = candidates(chosen, 0, 0, 400)
    for tokens, label in zip(sequences(found), found.labels, strict=True):
        assert tokens[-1] == listops.EOS
        body = tokens[:-1]
        assert min_length < len(body) < min_length + width
        assert len(tokens) <= chosen.maximum_length
        assert reduce_text(text(body)) == label == listops.evaluate(body.tobytes())
        deepest, arity = structure(body)
        assert deepest <= max_depth - 1
        assert all(2 <= count <= max_args for count in arity)


def test_release_sequences_evaluate_to_the_label_within_all_bounds(sample):
    for tokens, label in zip(sequences(sample)[:300], sample.labels, strict=False):
        assert 500 < len(tokens) - 1 < 2000
        assert reduce_text(text(tokens[:-1])) == label
        deepest, arity = structure(tokens[:-1])
        assert deepest == 9
        assert 2 <= min(arity) <= max(arity) <= 10


def same_distribution(ours: list[int], theirs: list[int]) -> float:
    return chi2_contingency([ours, theirs]).pvalue


def test_distribution_is_that_of_the_release(sample, released_statistics):
    """Chi-square tests of homogeneity against 5000 sequences of the authors' generator; the draw is fixed."""
    theirs = released_statistics
    lengths = np.diff(sample.offsets) - 1
    edges = theirs["token_length"]["histogram"]["edges"]
    assert same_distribution(np.histogram(lengths, edges)[0], theirs["token_length"]["histogram"]["counts"]) > 1e-3
    assert same_distribution(np.bincount(sample.labels), list(theirs["label_counts"].values())) > 1e-3

    counts = np.bincount(sample.tokens, minlength=len(listops.VOCABULARY))
    operators = {name: counts[listops.VOCABULARY.index(name)] for name in theirs["operator_counts"]}
    assert same_distribution(list(operators.values()), list(theirs["operator_counts"].values())) > 1e-3
    digits = counts[listops.FIRST_DIGIT : listops.FIRST_DIGIT + 10]
    assert same_distribution(digits, list(theirs["leaf_digit_counts"].values())) > 1e-3
    roots = Counter(listops.VOCABULARY[token] for token in sample.tokens[sample.offsets[:-1]])
    names = list(theirs["root_operator_counts"])
    assert same_distribution([roots[n] for n in names], list(theirs["root_operator_counts"].values())) > 1e-3


def test_depth_and_arguments_are_those_of_the_release(sample, released_statistics):
    arity, depths = Counter(), Counter()
    for tokens in sequences(sample)[:2000]:
        deepest, counts = structure(tokens[:-1])
        depths[deepest] += 1
        arity.update(counts)
    assert depths == {9: 2000}
    theirs = {int(k): v for k, v in released_statistics["args_per_operator"].items()}
    assert same_distribution([arity[k] for k in theirs], list(theirs.values())) > 1e-3


def test_acceptance_rate_is_that_of_the_release(released_statistics):
    found = candidates(ListOpsSettings(seed=11), 0, 0, 65_536)
    theirs = released_statistics["acceptance"]
    ours = [len(found.labels), 65_536 - len(found.labels)]
    assert same_distribution(ours, [theirs["accepted"], theirs["trials"] - theirs["accepted"]]) > 1e-3


def digest(splits: dict[str, Sequences]) -> str:
    content = hashlib.sha256()
    for name in SPLITS:
        for array in (splits[name].tokens, splits[name].offsets, splits[name].labels):
            content.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()


SMALL = ListOpsSettings(train=40, validation=10, test=10)


@pytest.fixture(scope="module")
def small() -> dict[str, Sequences]:
    return generate(SMALL, jobs=2)


def test_generated_bits_are_pinned(small):
    assert digest(small) == "997c8707c7eb57d80587e5ec7e7d431d322daabac35715a787de6eeb64318e99"
    assert text(small["train"].tokens[:12]) == "[MIN 8 [MIN 1 2 [MIN 8 3 8 ] 2 2"


@pytest.mark.parametrize(("jobs", "chunk"), [(1, 8192), (3, 500), (5, 333)])
def test_bits_do_not_depend_on_workers_or_chunks(small, jobs, chunk):
    assert digest(generate(SMALL, jobs=jobs, chunk=chunk)) == digest(small)


def test_an_overlong_tree_does_not_change_its_neighbours():
    """What a narrower bound accepts is what the wider one accepts, less the longer ones."""
    wide, narrow = (candidates(ListOpsSettings(max_length=bound), 0, 0, 8192) for bound in (4000, 900))
    short = [tokens.tobytes() for tokens in sequences(wide) if len(tokens) - 1 < 900]
    assert short == [tokens.tobytes() for tokens in sequences(narrow)]
    assert len(short) < len(wide.labels)


def test_smaller_selections_are_prefixes_of_larger_ones(small):
    large = generate(ListOpsSettings(train=100, validation=30, test=20))
    for name in SPLITS:
        count = len(small[name].labels)
        np.testing.assert_array_equal(small[name].labels, large[name].labels[:count])
        np.testing.assert_array_equal(small[name].tokens, large[name].tokens[: small[name].offsets[-1]])


def test_seeds_and_splits_differ(small):
    assert digest(small) != digest(generate(ListOpsSettings(train=40, validation=10, test=10, seed=1)))
    assert small["validation"].tokens[:200].tobytes() != small["test"].tokens[:200].tobytes()


def test_no_sequence_comes_twice_in_the_whole_set():
    splits = generate(
        ListOpsSettings(train=700, validation=100, test=100, min_length=2, max_length=6, max_depth=2, max_args=3)
    )
    everything = [tokens.tobytes() for name in SPLITS for tokens in sequences(splits[name])]
    assert len(everything) == 900 == len(set(everything))


def test_settings_that_allow_too_few_sequences_stop(monkeypatch):
    monkeypatch.setattr(listops_generator, "PATIENCE", 20_000)
    with pytest.raises(SettingsError, match=r"too few different sequences \(10 found"):
        generate(ListOpsSettings(train=20, validation=1, test=1, min_length=0, max_length=2, max_depth=1))


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"train": 0}, "train must be an integer of at least 1, not 0"),
        ({"seed": -1}, "seed must be"),
        ({"max_args": 1}, "max_args must be an integer of at least 2"),
        ({"max_length": 501}, "max_length must be an integer of at least 502"),
        ({"test": 2.5}, "test must be an integer"),
        ({"source": "found"}, "source must be 'generated' or 'released' or 'local'"),
        ({"source": "released", "seed": 3}, "seed belongs to source 'generated'"),
        ({"max_lenght": 9}, "did you mean 'max_length'"),
    ],
)
def test_impossible_settings_name_their_field(given_settings, message):
    with pytest.raises(SettingsError, match=message):
        ListOpsSettings.from_dict(given_settings)


def test_protocol_tells_sources_and_settings_apart():
    chosen = [ListOpsSettings(), ListOpsSettings(source="released"), ListOpsSettings(train=1), ListOpsSettings(seed=1)]
    assert len({each.hash() for each in chosen}) == 4
    protocols = [each.protocol() for each in chosen]
    assert all(a != b for i, a in enumerate(protocols) for b in protocols[:i])
    assert set(protocols[0]) == {
        "name", "dataset", "source", "splits", "split_rule", "tokenizer", "vocabulary", "vocabulary_sha256",
        "maximum_length", "one_hot_size", "classes", "padding", "metric", "settings",
        "generator_version", "differences",
    }  # fmt: skip
    assert protocols[0]["maximum_length"] == 2048
    assert protocols[0]["splits"] == {"train": 96_000, "validation": 2_000, "test": 2_000}
    assert json.loads(json.dumps(protocols)) == protocols
