"""What decides whether two numbers of span corruption may be compared."""

from __future__ import annotations

from typing import Any

from suite.recipes.base import SpanCorruption

DEFINITIONS = {
    "test_nll_nats_per_token": "mean over all targets, sentinels and ends counted, of minus the natural logarithm of "
    "the probability of each, given what is read and the targets before it",
    "test_token_perplexity": "exp of the mean of minus the natural logarithms over the bytes that were lost",
    "test_token_accuracy": "share of the bytes that were lost that are the likeliest token, given those before it",
    "unigram_token_perplexity": "of a model that only knows how often each byte occurs in the train split",
    "unigram_token_accuracy": "of always writing the most frequent byte of the train split",
}


def facts(spans: SpanCorruption) -> dict[str, Any]:
    """The facts of a task beside those of its text."""
    lost, count = spans.counts
    chosen = "all windows" if spans.evaluated is None else f"{spans.evaluated} windows at equal distances, or all,"
    return {
        "metric_definitions": DEFINITIONS,
        "objective": f"span corruption (Raffel et al. 2020, section 3.1.4): windows of {spans.length} bytes of the "
        f"documents one after the other lose {lost} in {count} span{'s' if count > 1 else ''}; each becomes a sentinel "
        "in what is read, and stands behind that sentinel in what is written",
        "targets": "UTF-8 bytes plus 3; sentinels are the bytes FF down to F5, which no text holds; 2 at the end",
        "selection": "last epoch; the test numbers reported are its",
        "evaluation": f"every epoch, {chosen} of the validation and of the test split, which lose the same spans in "
        "every run; no token is written, each is predicted from the true ones before it",
        "training": "shuffled windows, which lose other spans in every update; what fills no window is left out",
    }
