"""Language models in the report: what stands in one table, what a table says, and what is drawn."""

import math
from typing import Any

import msgspec
import pytest
from report_records import make_record, store

from reports import build, conclusions, frames, language
from reports.blocks import Heading, Paragraph, Table
from reports.pages import Report
from reports.published import shipped
from reports.records import Record

FACTS: dict[str, Any] = {
    "name": "book/embedded/bytes",
    "tokenizer": "bytes",
    "evaluation": "every document from its first token",
    "metric": "bits_per_byte",
    "metric_definitions": {"bits_per_byte": "bits of all tokens divided by bytes", "word_perplexity": "by words"},
}


def record(
    architecture: str = "s5", bits: float = 3.0, framework: str = "jax", seed: int = 0, **changes: Any
) -> Record:
    facts = {**FACTS, "differences": [f"{architecture} is not published"], **changes.pop("protocol", {})}
    layer = {"architecture": architecture, "variant": "SH", "kernel": "s4"}
    nats = bits * math.log(2)
    fields = {
        "benchmark": "lm",
        "task": "lm.book",
        "recipe": {"batch_size": 8, "model": {"layer": layer}},
        "metrics": {
            "bits_per_byte": bits,
            "nll_nats_per_token": nats,
            "token_perplexity": math.exp(nats),
            "word_perplexity": math.exp(5 * nats),
            "unigram_bits_per_byte": 4.5,
            "parameter_count": 123_456,
        },
        "curves": {
            "epoch": [1, 2],
            "epoch_step": [50, 100],
            "validation_bits_per_byte": [bits + 1, bits],
            "test_bits_per_byte": [None, bits],
            "step": [1, 2],
            "step_loss": [5.0, 4.0],
        },
        "tables": {
            "perplexity_by_position": [
                {"position_from": 0, "position_to": 15, "targets": 16, "token_perplexity": 30.0},
                {"position_from": 16, "position_to": 31, "targets": 16, "token_perplexity": 20.0 + seed},
            ]
        },
        "predictions": None,
        "protocol": facts,
        **changes,
    }
    return make_record(framework, seed, architecture=architecture, **fields)


def groups(found: list[Record]) -> list[frames.Group]:
    return list(Report.of(found, shipped()).groups)


def test_one_table_holds_what_was_measured_alike():
    found = [record(), record("block_state", 2.5), record("block_state", 2.7, "torch"), record("ema", profile="small")]
    found.append(record("s4", protocol={"evaluation": "windows of 128 tokens"}))
    sections = [sorted(group.architecture for group in section) for section in language.sections(groups(found))]
    assert sorted(sections) == [["block_state", "s5"], ["ema"], ["s4"]]


@pytest.mark.parametrize("tokenizer", ["bytes", "words", "characters", "syllables", "phonemes", "lines"])
def test_a_smaller_table_of_another_protocol_comes_later_and_says_what_differs(tokenizer: str):
    both = {"tokenizer": tokenizer}
    other = record("s4", protocol=both | {"evaluation": "windows of 128 tokens", "prepared_sha256": "a" * 64})
    blocks = language.perplexities(groups([other, record(protocol=both), record("ema", protocol=both)]))
    titles = [block.text for block in blocks if isinstance(block, Heading)]
    assert titles[1] == titles[2]
    notes = [block.spans[0].text for block in blocks if isinstance(block, Paragraph)]
    assert notes[1:] == ["Apart from the table above, as the protocols differ in: evaluation, prepared sha256."]
    sizes = [len(block.rows) for block in blocks if isinstance(block, Table) and block.caption.startswith("Test split")]
    assert sizes == [2, 1]


def test_rows_are_in_the_order_of_names_and_never_of_numbers():
    (section,) = language.sections(groups([record("s5", 2.0), record("block_state", 2.5), record("ema", 9.0)]))
    table = language.table(section)
    names = [row.cells[0].spans[0].text for row in table.rows]
    assert names == ["block_state (SH:s4)", "ema", "s5"]


def test_a_row_holds_the_mean_of_all_seeds():
    (section,) = language.sections(groups([record(bits=3.0), record(bits=3.2, seed=1)]))
    (row,) = language.table(section).rows
    texts = [" ".join(span.text for span in cell.spans) for cell in row.cells]
    assert texts[1:4] == ["JAX", "3.100 ± 0.141", f"{(2**3.0 + 2**3.2) / 2:.2f} ± {(2**3.2 - 2**3.0) / 2**0.5:.2f}"]
    assert texts[5:] == ["4.500", "123,456", "0 1", "–"]


def test_published_numbers_stand_only_where_the_protocol_is_followed():
    known = shipped().reference("lm.enwik8", "seqboat")
    assert known is not None
    (group,) = groups([record("seqboat", 1.1, task="lm.enwik8")])
    assert group.reference is None
    assert group.entries["jax"].verdict.kind == "not comparable"
    (section,) = language.sections([group])
    assert language.table(section).rows[0].cells[-1].spans[0].text == "–"
    assert frames.followed({"comparable_to": "a"}, msgspec.structs.replace(known[1], protocol="a"))
    assert not frames.followed({"comparable_to": ""}, msgspec.structs.replace(known[1], protocol=""))


def test_curves_are_means_over_the_seeds():
    (group,) = groups([record(bits=3.0), record(bits=3.2, seed=1)])
    evaluations = language.over_seeds(group, language._evaluations)
    assert evaluations["x"].tolist() == [50, 100]
    assert evaluations["mean"].tolist() == pytest.approx([4.1, 3.1])
    positions = language.over_seeds(group, language._positions)
    assert positions[["x", "mean", "low", "high"]].to_numpy().tolist() == [[15, 30, 30, 30], [31, 20.5, 20, 21]]


def test_conclusions_compare_with_token_frequencies():
    (low,) = conclusions.learned(groups([record()]))
    assert "every seed needs fewer bits per byte than token frequencies (4.500)" in low[0].text
    (high,) = conclusions.learned(groups([record(bits=4.6)]))
    assert "not every seed needs fewer" in high[0].text


def test_the_page_of_the_benchmark_holds_perplexities(tmp_path):
    runs = store([record(), record("block_state", 2.5, "torch")], tmp_path / "runs")
    build.build([runs], tmp_path / "site")
    for suffix in ("html", "md"):
        page = (tmp_path / "site" / "benchmarks" / f"lm.{suffix}").read_text()
        for said in (
            "(SH:s4)",
            "2.500",
            "bits of all tokens divided by bytes",
            "every document from its first",
        ):
            assert said in page, (suffix, said)
    html = (tmp_path / "site" / "benchmarks" / "lm.html").read_text()
    assert html.count("<figure") == 2
    assert "benchmarks/lm.html" in (tmp_path / "site" / "index.html").read_text()
    result = (tmp_path / "site" / "index.md").read_text()
    assert "| [lm.book](tasks/lm.book.md) <br>bits per byte | [s5](architectures/s5.md) | [**3.000**]" in result
    assert "Validation, %" not in (tmp_path / "site" / "tasks" / "lm.book.md").read_text()
    assert "Perplexities, profile smoke" in (tmp_path / "site" / "tasks" / "lm.book.html").read_text()


def test_language_models_and_length_generalization_have_pages_of_their_own(tmp_path):
    length = record("block_state", 2.5, task="length.book", benchmark="length")
    runs = store([record(), length], tmp_path / "runs")
    build.build([runs], tmp_path / "site")
    pages = {name: (tmp_path / "site" / "benchmarks" / f"{name}.md").read_text() for name in ("lm", "length", "lra")}
    assert "3.000" in pages["lm"]
    assert "2.500" not in pages["lm"]
    assert "2.500" in pages["length"]
    assert "3.000" not in pages["length"]
    assert "## Perplexities" not in pages["lra"]
    paper = pages["lm"][pages["lm"].index("## Profile paper") :]
    assert "| [mega](../architectures/mega.md) | JAX, PyTorch |" in paper
    assert "| [s5](../architectures/s5.md) | JAX, PyTorch |" not in paper[: paper.index("## Profile smoke")]
    assert "## Profile paper" not in pages["length"]
    assert "python -m suite.run --tasks length.book length.pg19 --architectures s5" in pages["length"]
    assert "../benchmarks/length.html" in (tmp_path / "site" / "tasks" / "length.book.html").read_text()


def paper(bits: float, architecture: str = "block_recurrent", seed: int = 0, **protocol: Any) -> Record:
    """A run of a paper's recipe on PG-19 by T5's pieces, of which a byte is a quarter."""
    facts = {"name": "pg19/released/sentencepiece", "comparable_to": "lm-block-recurrent", "not_comparable": ""}
    nats = bits * math.log(2)
    found = record(architecture, bits / 4, seed=seed, task="lm.pg19", profile="paper", protocol={**facts, **protocol})
    metrics = {**found.metrics, "nll_nats_per_token": nats, "token_perplexity": math.exp(nats)}
    return msgspec.structs.replace(found, metrics=metrics)


def test_a_run_by_the_published_protocol_is_judged_in_bits_per_token():
    (one,) = groups([paper(3.53), paper(3.531, seed=1)])
    said = one.entries["jax"].verdict
    assert (said.label, said.tested) == ("underpowered", None)  # the paper prints no spread
    assert "inside the margin of ±0.02 bits/token, n = 2" in said.reason
    assert said.reason.endswith("it would be “reproduced”")
    (other,) = groups([paper(3.6), paper(3.601, seed=1)])
    assert other.entries["jax"].verdict.reason.endswith("it would be “above”")
    (section,) = language.sections([one])
    assert language.table(section).rows[0].cells[-1].spans[0].text == "3.53"


def test_a_run_on_a_part_of_the_corpus_is_not_judged_and_says_why():
    why = "the corpus is not the released one: 26 of 28,602 documents in its train split"
    (group,) = groups(
        [paper(3.53, comparable_to="", not_comparable=why), paper(3.53, seed=1, comparable_to="", not_comparable=why)]
    )
    assert (group.entries["jax"].verdict.kind, group.entries["jax"].verdict.reason) == ("not comparable", why)
    assert group.reference is None


def test_a_published_perplexity_is_read_in_bits():
    known = shipped().reference("lm.pg19", "block_state")
    assert known is not None
    found = frames.bits_per_token(known[1])
    assert found is not None
    assert found.value == pytest.approx(3.532, abs=1e-3)
    spread = frames.bits_per_token(msgspec.structs.replace(known[1], value=8.0, std=0.04))
    assert spread is not None
    assert (spread.value, spread.std) == (3.0, pytest.approx(math.log2(8.02 / 7.98), rel=1e-4))
    assert frames.bits_per_token(msgspec.structs.replace(known[1], metric="word_perplexity")) is None
    (group,) = groups([paper(3.53, "block_state"), paper(3.53, "block_state", seed=1)])
    assert "†" in group.entries["jax"].verdict.reason
