"""ROUGE by hand."""

from itertools import combinations

import pytest

from suite.rouge import common_subsequence, mean_rouge, rouge, words


def test_words_are_lower_case_letters_and_digits():
    assert words("The cat's 2nd-best\nHat, é!") == ["the", "cat", "s", "2nd", "best", "hat"]


def test_the_example_of_the_paper():
    # Lin 2004, section 3.1: S1 is the reference; S2 and S3 share as many words and pairs with it, but not in order.
    reference, second, third = "police killed the gunman", "police kill the gunman", "the gunman kill police"
    expected = {"rouge1": 3 / 4, "rouge2": 1 / 3, "rougeL": 3 / 4}
    assert rouge(second, reference) == pytest.approx(expected)
    assert rouge(third, reference) == pytest.approx(expected | {"rougeL": 2 / 4})


def test_repeated_words_count_as_often_as_both_have_them():
    found = rouge("the the the cat", "the cat the dog sat")
    assert found["rouge1"] == pytest.approx(2 * (3 / 4) * (3 / 5) / (3 / 4 + 3 / 5))
    assert found["rouge2"] == pytest.approx(2 * (1 / 3) * (1 / 4) / (1 / 3 + 1 / 4))  # "the cat"
    assert found["rougeL"] == pytest.approx(2 * (2 / 4) * (2 / 5) / (2 / 4 + 2 / 5))  # the ... cat, or the the


def test_longest_common_subsequence_is_that_of_all_subsequences():
    first, second = list("abcbdab"), list("bdcaba")
    held = [{c for n in range(len(text) + 1) for c in combinations(text, n)} for text in (first, second)]
    assert common_subsequence(first, second) == max(map(len, held[0] & held[1])) == 4


def test_empty_texts_and_means():
    assert rouge("", "a b") == rouge("...", "a b") == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}
    assert rouge("a", "a") == {"rouge1": 1.0, "rouge2": 0.0, "rougeL": 1.0}
    assert mean_rouge(["a b", "c"], ["a b", "d"]) == {"rouge1": 0.5, "rouge2": 0.5, "rougeL": 0.5}
    with pytest.raises(ValueError, match="1 summaries for 2 references"):
        mean_rouge(["a"], ["a", "b"])
