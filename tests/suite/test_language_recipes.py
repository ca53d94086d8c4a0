"""Recipes, cells and protocols of the benchmark lm."""

import json
from typing import Any, get_args

import pytest

from implementations.models.config import LanguageModelConfig
from reports.published import shipped
from suite.launch import comparable, operations, result
from suite.matrix import Cell, Selection, cells, published
from suite.recipes import language, recipes
from suite.recipes.base import Profile, Recipe, differences
from suite.tasks import all_tasks

ARCHITECTURES = (
    *("s5", "s4", "s4d", "ema", "mega", "seqboat", "transformer", "spade"),
    *("block_recurrent", "block_recurrent_feedback", "block_state"),
)
SIZES: tuple[Profile, ...] = ("smoke", "small")
PAPERS = {
    ("pg19", "transformer"), ("pg19", "block_recurrent"), ("pg19", "block_state"),
    ("arxiv", "transformer"), ("arxiv", "block_recurrent"), ("arxiv", "block_state"),
    ("github", "transformer"), ("github", "block_recurrent"), ("github", "block_state"),
    ("pg19", "block_recurrent_feedback"), ("arxiv", "block_recurrent_feedback"), ("github", "block_recurrent_feedback"),
    ("wikitext103", "spade"), ("enwik8", "seqboat"), ("wikitext103", "mega"), ("enwik8", "mega"),
}  # fmt: skip


def recipe(task: str, architecture: str, profile: Profile = "smoke") -> Recipe:
    found = recipes(architecture)[f"lm.{task}"](profile)
    assert found is not None
    return found


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_task_has_a_recipe_that_survives_json(architecture):
    for task in get_args(language.Task):
        assert all_tasks()[f"lm.{task}"].benchmark == "lm"
        for profile in SIZES:
            found = recipe(task, architecture, profile)
            assert Recipe.from_dict(json.loads(json.dumps(found.to_dict()))) == found
            assert found.optimizer.schedule.total_steps == found.total_steps
            assert found.model.input_size == language.DATA[task][1]
        paper = recipes(architecture)[f"lm.{task}"]("paper")
        assert (paper is not None) == ((task, architecture) in PAPERS)
        if paper is not None:
            assert Recipe.from_dict(json.loads(json.dumps(paper.to_dict()))) == paper
            assert paper.source["not expressed"]
            assert differences(recipe(task, architecture), paper)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_studies_of_length_read_longer_texts_than_they_are_trained_on(architecture):
    for task in ("length.book", "length.pg19"):
        for profile in SIZES:
            found = recipes(architecture)[task](profile)
            assert found is not None
            assert found.language is not None
            assert (found.language.carried, found.language.evaluation) == (False, "carried")
            assert found.language.lengths[0] == found.language.segment
            assert found.language.lengths[-1] >= 100 * found.language.segment
            assert Recipe.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert recipes(architecture)[task]("paper") is None
    assert "lengths" not in recipe("book", architecture).to_dict()["language"]


def test_the_project_trains_all_architectures_alike():
    for profile in SIZES:
        one, *others = (recipe("book", name, profile) for name in ARCHITECTURES)
        for other in others:
            same = ("batch_size", "epochs", "selection", "language", "data")
            assert {name: getattr(one, name) for name in same} == {name: getattr(other, name) for name in same}
            assert one.optimizer.schedule == other.optimizer.schedule


@pytest.mark.parametrize(("profile", "least", "most"), [("smoke", 110_000, 160_000), ("small", 4_400_000, 5_300_000)])
def test_models_have_about_equally_many_parameters_but_ema_in_small(profile, least, most):
    pytest.importorskip("torch")
    from implementations.catalog import model_class
    from implementations.common.initializers import Keys

    for name in ARCHITECTURES:
        config = recipe("book", name, profile).model
        model = model_class(config, "torch")(config, Keys(0))
        count = sum(p.numel() for p in model.parameters())
        assert (least < count < most) != (profile == "small" and name == "ema"), (name, count)
        ruled = recipe("book", name, profile).optimizer
        groups = [ruled.group_of(path) for path, _ in model.named_parameters()]
        assert ("ssm" in groups) == (name in ("s5", "s4", "s4d", "spade", "block_state")), name


def test_published_numbers_of_the_papers():
    recurrent = recipe("pg19", "block_recurrent", "paper")
    kinds = [layer.architecture for layer in recurrent.model.layers]
    assert [i for i, kind in enumerate(kinds) if kind == "block_recurrent"] == [9]
    assert (len(kinds), recurrent.model.d_model, recurrent.model.input_size) == (12, 1024, 32_128)
    assert recurrent.language is not None
    assert (recurrent.language.segment, recurrent.batch_size, recurrent.total_steps) == (4096, 32, 500_000)
    rates = [recurrent.optimizer.rates(step)["regular"] for step in (0, 500, 1_000, 4_000)]
    assert rates == pytest.approx([0.0, 0.5 * 1_000**-0.5, 1_000**-0.5, 4_000**-0.5])
    for architecture in ("transformer", "block_recurrent", "block_state"):
        rule = recipe("pg19", architecture, "paper").optimizer
        assert (rule.algorithm, rule.b1, rule.decay_exponent, rule.clip_norm) == ("adafactor", 0.9, 0.8, None)
        assert {group.weight_decay for group in rule.groups.values()} == {0.0}
        assert "algorithm" not in recipe("pg19", architecture, "small").to_dict()["optimizer"]
    contexts = recipe("arxiv", "block_state", "paper").model.layers
    assert [i + 1 for i, layer in enumerate(contexts) if layer.architecture == "block_state"] == [1, 7, 9]
    spade = recipe("wikitext103", "spade", "paper")
    assert (spade.total_steps, spade.optimizer.clip_norm, spade.optimizer.group_of("layers.0.layers.0.s4.B")) == (
        286_000, 0.1, "s4_B",
    )  # fmt: skip
    assert (spade.optimizer.algorithm, spade.optimizer.b1) == ("nesterov", 0.99)
    spade_rates = [spade.optimizer.rates(step)["regular"] for step in (0, 16_000, 286_000)]
    assert spade_rates == pytest.approx([1e-7, 1.0, 1e-4])
    seqboat = recipe("enwik8", "seqboat", "paper")
    assert seqboat.language is not None
    assert (seqboat.optimizer.algorithm, seqboat.optimizer.b2) == ("radam", 0.98)
    assert (seqboat.model.depth, seqboat.language.stride, seqboat.total_steps) == (14, 1_192, 400_000)


@pytest.mark.parametrize(
    ("task", "millions", "tokens", "chunks"), [("enwik8", 39, 65_536, 4), ("wikitext103", 252, 147_456, 6)]
)
def test_published_numbers_of_mega(task, millions, tokens, chunks):
    pytest.importorskip("torch")
    from implementations.catalog import layer_class
    from implementations.common.initializers import Keys

    mega = recipe(task, "mega", "paper")
    model, language = mega.model, mega.language
    assert isinstance(model, LanguageModelConfig)
    assert language is not None
    layer: Any = model.layer
    assert (layer.chunk_size * chunks, layer.bias, layer.prenorm, layer.causal) == (
        language.segment,
        "rotary",
        True,
        True,
    )
    assert (language.segment * mega.batch_size, language.carried, language.evaluation) == (tokens, False, "carried")
    one = sum(p.numel() for p in layer_class("mega", "torch")(layer, Keys(0)).parameters())
    adaptive = model.embedding == "adaptive"
    tables = sum(count * width + (width * model.d_model if adaptive else 0) for _, count, width in model.bands)
    assert round((model.depth * one + tables) / 1e6) == millions
    rates = [mega.optimizer.rates(step)["regular"] for step in (0, 24_000, 212_000, 400_000)]
    assert rates == pytest.approx([1e-7, 0.005, 0.0025, 0.0])
    assert (mega.total_steps, mega.optimizer.clip_norm, mega.optimizer.b2) == (400_000, 0.25, 0.98)
    facts = facts_of(f"lm.{task}", "mega")
    assert facts["comparable_to"] == ""
    assert "2209.10655, table 5" in facts["not_comparable"]
    assert shipped().reference(f"lm.{task}", "mega")


def test_cells_of_the_benchmark():
    found = cells(Selection(benchmarks=("lm",), architectures=("s5", "block_state")))
    assert len(found) == 2 * 2 * 6
    for cell in found:
        assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))).id == cell.id
        assert result.protocol(cell)["metric"] == "bits_per_byte"
        assert (operations.total_operations(cell) or 0) > 1e9
    assert {cell.task for cell in cells(Selection(benchmarks=("lm",), profile="paper"))} == {
        f"lm.{task}" for task, _ in PAPERS
    }


def test_the_protocol_defines_its_metrics_and_says_what_differs():
    (book,) = cells(Selection(tasks=("lm.book",), architectures=("s5",), frameworks=("torch",)))
    assert published(book) is None
    facts = result.protocol(book)
    assert set(facts["metric_definitions"]) >= {"bits_per_byte", "token_perplexity", "word_perplexity"}
    assert "states carried through the whole of it" in facts["evaluation"]
    assert "no published recipe is known" in facts["differences"]
    assert facts["comparable_to"] == ""
    (enwik8,) = cells(Selection(tasks=("lm.enwik8",), architectures=("seqboat",), frameworks=("jax",), profile="paper"))
    assert "the last 1192 tokens of each count" in result.protocol(enwik8)["evaluation"]


def facts_of(task: str, architecture: str, *overrides: str) -> dict:
    one = Selection(
        tasks=(task,), architectures=(architecture,), frameworks=("jax",), profile="paper", overrides=overrides
    )
    return result.protocol(cells(one)[0])


BOOKS = {"train": 28_602, "validation": 50, "test": 100}


def text_of(identical: int = 100, **documents: int) -> dict:
    splits = {name: {"documents": count} for name, count in (BOOKS | documents).items()}
    return {"dataset": "pg19", "splits": splits, "identical_to_release": {"validation": 50, "test": identical}}


def test_what_the_papers_recipe_has_and_this_one_cannot_say_is_told():
    facts = facts_of("lm.pg19", "block_recurrent")
    assert facts["comparable_to"] == ""
    assert facts["not_comparable"].startswith("the recipe is not the published one: not expressed of the published")


def test_the_whole_of_pg19_by_the_papers_recipe_is_comparable_and_a_part_is_not(monkeypatch):
    monkeypatch.setattr(result, "unexpressed", lambda recipe: [])
    facts = facts_of("lm.pg19", "block_recurrent")
    assert (facts["comparable_to"], facts["not_comparable"]) == ("lm-block-recurrent", "")
    assert any("arXiv 2203.07852, table 1" in table for table in facts["published_tables"])
    assert comparable.after(facts, text_of()) == facts
    for text, why in (
        (text_of(train=26), "26 of 28,602 documents in its train split"),
        (text_of(test=99), "99 of 100 documents in its test split"),
        (text_of(identical=99), "99 of 100 documents of its test split are the same byte for byte"),
    ):
        found = comparable.after(facts, text)
        assert found["comparable_to"] == ""
        assert found["not_comparable"].endswith(why)


def test_every_language_task_names_its_tables_or_says_why_there_are_none():
    published_protocols = {number.protocol for paper in shipped().papers for number in paper.numbers}
    for task in get_args(language.Task):
        of = all_tasks()[f"lm.{task}"]
        assert bool(of.tables) == bool(of.comparable_to) == (not of.not_comparable)
        assert of.comparable_to in published_protocols
    for changed in (
        "data.settings.tokenizer=bytes",
        "data.settings.source=local",
        "data.settings.train=20",
        "epochs=2",
    ):
        facts = facts_of("lm.pg19", "block_recurrent", changed)
        assert facts["comparable_to"] == ""
        assert changed.partition("=")[0] in facts["not_comparable"]
    assert "private" in facts_of("lm.arxiv", "block_recurrent")["not_comparable"]
    assert "not_comparable" not in result.protocol(cells(Selection(tasks=("length.book",), architectures=("s5",)))[0])


def test_a_recipe_without_language_keeps_its_dictionary():
    listops = recipes("s5")["lra.listops"]("paper")
    assert listops is not None
    assert "language" not in listops.to_dict()
    assert "language" in recipe("book", "s5").to_dict()
