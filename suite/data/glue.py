"""The nine tasks of GLUE (Wang et al., arXiv 1804.07461), byte by byte.

A sequence is the UTF-8 bytes of a sentence, or of two with a separator between them, and an end. The labels of GLUE's
test files are not public: as in most papers, results are those of the development files, here the split `test`. MNLI
has two of them, of which a variant reads one. Its files, QNLI's and QQP's were not at hand, and so not the length of
their longest example: there a pair may be cut.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import UInt16

from suite.data.dataset import DataSet
from suite.data.errors import DataError
from suite.data.permutation import AUTHORS_SEED, torch_permutation
from suite.data.sequences import Advance, Sequences, join, silent
from suite.data.settings import Settings, choice, integer

SEPARATOR, END, FIRST_BYTE = 1, 2, 3
VOCABULARY_SIZE = FIRST_BYTE + 256
"""0 is padding."""


@dataclass(frozen=True)
class Kind:
    """What a task's files hold: the columns of sentences and label, None for a file without a header, and labels.

    development: the file of the development examples by variant; `test` counts those of the first. cut: the longer
    sentence of a pair above `maximum_length` loses its end; without it, such a pair is malformed. Tasks share a
    `maximum_length` where they can: those of as many classes are then one compiled program.
    """

    title: str
    folder: str
    train: int
    test: int
    maximum_length: int
    sentences: tuple[str, ...] = ("sentence1", "sentence2")
    label: str = "label"
    labels: tuple[str, ...] = ("0", "1")
    header: tuple[str, ...] | None = None
    measures: tuple[str, ...] = ()
    metric: str = "accuracy"
    development: tuple[tuple[str, str], ...] = (("development", "dev"),)
    cut: bool = False


KINDS = {
    "glue_cola": Kind(
        "CoLA (GLUE)", "CoLA", 8_551, 1_043, 272, ("sentence",), "label",
        header=("source", "label", "mark", "sentence"), measures=("matthews",), metric="matthews",
    ),
    "glue_sst2": Kind("SST-2 (GLUE)", "SST-2", 67_349, 872, 272, ("sentence",)),
    "glue_mrpc": Kind(
        "MRPC (GLUE)", "MRPC", 3_668, 408, 512, ("#1 String", "#2 String"), "Quality", measures=("f1",), metric="f1"
    ),
    "glue_stsb": Kind(
        "STS-B (GLUE)", "STS-B", 5_749, 1_500, 640, label="score", labels=(), measures=("pearson", "spearman"),
        metric="pearson",
    ),
    "glue_rte": Kind("RTE (GLUE)", "RTE", 2_490, 277, 1_424, labels=("entailment", "not_entailment")),
    "glue_wnli": Kind("WNLI (GLUE)", "WNLI", 635, 71, 512),
    "glue_qnli": Kind(
        "QNLI (GLUE)", "QNLI", 104_743, 5_463, 1_424, ("question", "sentence"),
        labels=("entailment", "not_entailment"), cut=True,
    ),
    "glue_qqp": Kind(
        "QQP (GLUE)", "QQP", 363_846, 40_430, 512, ("question1", "question2"), "is_duplicate", measures=("f1",),
        metric="f1", cut=True,
    ),
    "glue_mnli": Kind(
        "MNLI (GLUE)", "MNLI", 392_702, 9_815, 1_024, label="gold_label",
        labels=("entailment", "neutral", "contradiction"),
        development=(("matched", "dev_matched"), ("mismatched", "dev_mismatched")), cut=True,
    ),
}  # fmt: skip
"""By the name of the data set; without `labels`, the label is a number from 0 to 5."""

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name.replace("_", "."): (name, {}) for name in KINDS},
    "glue.mnli_mm": ("glue_mnli", {"variant": "mismatched", "test": 9_832}),
}
"""Data set and settings of every task that reads them."""

METRICS = {
    "accuracy": "accuracy: share of all examples of the split whose largest logit is the label's",
    "matthews": "matthews: Matthews' correlation of predicted and true classes over all examples of the split",
    "f1": "f1: F1 of class 1 (paraphrase) over all examples of the split",
    "pearson": "pearson: Pearson's correlation of predicted and true scores over all examples of the split",
}


@dataclass(frozen=True)
class GlueSettings(Settings):
    """What a prepared task holds; `validation` examples are taken from the training file."""

    KIND: ClassVar[Kind]

    validation: int = integer(0, least=0)

    def facts(self) -> dict[str, Any]:
        kind = self.KIND
        longer = f"of a pair of more than {kind.maximum_length:,} the longer sentence loses its end"
        return {
            "split_rule": "train: the training file, of fewer the first of a permutation seeded with "
            f"{AUTHORS_SEED}; validation: the last of that permutation; test: the first examples of the development file",
            "input": {"kind": "tokens"},
            "tokenizer": "UTF-8 bytes plus 3, 1 between two sentences, 2 at the end; "
            + (longer if kind.cut else "never truncated"),
            "vocabulary_size": VOCABULARY_SIZE,
            "maximum_length": kind.maximum_length,
            "classes": len(kind.labels) or 1,
            "measures": list(kind.measures),
            "metric": METRICS[kind.metric],
        }

    @property
    def development(self) -> str:
        """The file of the development examples."""
        return f"{dict(self.KIND.development)[getattr(self, 'variant', self.KIND.development[0][0])]}.tsv"

    def reads(self, file: str) -> bool:
        """Whether a file of the release is the training file or this variant's development file."""
        return file.rpartition("/")[2] in ("train.tsv", self.development)


def settings_of(name: str) -> type[GlueSettings]:
    """The settings of one task."""
    kind = KINDS[name]

    @dataclass(frozen=True)
    class TaskSettings(GlueSettings):
        NAME: ClassVar[str] = name
        TITLE: ClassVar[str] = kind.title
        KIND: ClassVar[Kind] = kind

        train: int = field(default=kind.train, metadata={"least": 1})
        test: int = field(default=kind.test, metadata={"least": 1})

    if len(kind.development) == 1:
        return TaskSettings

    @dataclass(frozen=True)
    class VariantSettings(TaskSettings):
        variant: str = choice(*(name for name, _ in kind.development))

    return VariantSettings


def read(settings: GlueSettings, folder: Path, advance: Advance = silent) -> dict[str, Sequences]:
    """The splits, from `train.tsv` and the development file of the task's folder.

    Raises DataError with file and line for what is malformed, and where there are too few examples.
    """
    kind, counts = settings.KIND, settings.counts
    place = folder / kind.folder
    train, development = (_rows(kind, place / name) for name in ("train.tsv", settings.development))
    trained, tested = len(train), len(development)
    if counts["train"] + counts["validation"] > trained or counts["test"] > tested:
        raise DataError(
            f"{place} has {trained} training and {tested} development examples, {counts['train']} + "
            f"{counts['validation']} and {counts['test']} are wanted"
        )
    order = torch_permutation(trained)
    chosen = {
        "train": [train[i] for i in np.sort(order[: counts["train"]])],
        "validation": [train[i] for i in np.sort(order[trained - counts["validation"] :])],
        "test": development[: counts["test"]],
    }
    splits = {}
    for split, rows in chosen.items():
        found = join([tokens for tokens, _ in rows], [0] * len(rows))
        labels = np.array([label for _, label in rows], np.int32 if kind.labels else np.float32)
        splits[split] = Sequences(found.tokens, found.offsets, labels)
        advance(len(rows))
    return splits


def encode(sentences: list[str], most: int | None = None) -> UInt16[np.ndarray, " length"]:
    """Token ids of one or two sentences; of two that have more than `most`, the longer one loses its end."""
    texts = [np.frombuffer(sentence.encode(), np.uint8) for sentence in sentences]
    if most is not None and len(texts) == 2:
        first, second = (len(text) for text in texts)
        room = most - 2
        kept = min(first, max(room - second, room - room // 2))
        texts = [texts[0][:kept], texts[1][: room - kept]]
    parts: list[np.ndarray] = []
    for text in texts:
        parts += [*([np.array([SEPARATOR], np.uint16)] if parts else []), text.astype(np.uint16) + FIRST_BYTE]
    return np.concatenate([*parts, np.array([END], np.uint16)])


def _rows(kind: Kind, path: Path) -> list[tuple[np.ndarray, int | float]]:
    """Tokens and label of every line; fields are separated by tabs and never quoted."""
    header, read_label, rows = list(kind.header or ()), _labels(kind), []
    for number, line in enumerate(_lines(path), 1):
        fields = line.split("\t")
        if not header:
            header = fields
            if not {*kind.sentences, kind.label} <= set(header):
                raise DataError(f"{path}, line 1: expected the columns {', '.join((*kind.sentences, kind.label))}")
            continue
        if len(fields) != len(header):
            raise DataError(f"{path}, line {number}: expected {len(header)} columns, found {len(fields)}")
        row = dict(zip(header, fields, strict=True))
        tokens = encode([row[column] for column in kind.sentences], kind.maximum_length if kind.cut else None)
        if len(tokens) > kind.maximum_length:
            raise DataError(f"{path}, line {number}: {len(tokens)} tokens do not fit into {kind.maximum_length}")
        try:
            rows.append((tokens, read_label(row[kind.label])))
        except ValueError:
            raise DataError(f"{path}, line {number}: no label of {kind.title}: {row[kind.label]!r:.80}") from None
    return rows


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, one after the other, without their ends."""
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            for line in file:
                yield line.removesuffix("\n").rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _labels(kind: Kind) -> Callable[[str], int | float]:
    def score(text: str) -> float:
        if not 0 <= float(text) <= 5:
            raise ValueError
        return float(text)

    return kind.labels.index if kind.labels else score


GLUE_SETS = tuple(DataSet(settings_of(name), read=read) for name in KINDS)
