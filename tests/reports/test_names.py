"""Names of records' entries in words, numbers with their units, and long texts that are folded."""

from pathlib import Path

import pytest
from report_document import Document
from report_records import make_record, store

from reports import build, figures, frames, names, published, speed, tables
from reports.render import text_of


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("traffic_bytes", 13427181568, "12.5 GiB"),
        ("peak_memory_bytes", 2444677376.0, "2.3 GiB"),
        ("memory_bytes", 2**29, "512.0 MiB"),
        ("total_bytes", 12, "12 bytes"),
        ("step_seconds_p50", 0.118, "118.00 ms"),
        ("total_seconds", 836.2275, "836.23 s"),
        ("energy_joules", 7200, "2 Wh"),
        ("roofline_share", 0.0336, "3.36 %"),
        ("tokens_per_second", 10143721.27, "10,143,721"),
        ("error", 1.85e-07, "1.85e-07"),
        ("passed", True, "yes"),
        ("length", 16384, "16,384"),
        ("operations", 3489660928, "3.49 G"),
        ("flops", 640, "640"),
        ("huge", 10**400, None),
        ("layer", "BRECT", None),
    ],
)
def test_values_have_the_units_of_their_names(key: str, value: object, shown: str | None) -> None:
    assert names.value(key, value) == shown


def test_unknown_names_are_shown_with_spaces() -> None:
    assert names.title("growth_with_length") == "Growth of the time with length"
    assert names.title("a_new_table") == "A new table"
    assert names.path("environment.XLA_FLAGS") == "environment › XLA_FLAGS"
    assert names.path("hardware.memory_bytes") == "hardware › memory"
    assert names.protocol("pg19/local/bytes") == "PG-19, own copy of the texts, bytes as tokens"
    assert names.protocol("new_text/elsewhere") == "new text, elsewhere"


def test_tables_of_records_sort_by_their_numbers() -> None:
    table = tables.rows_table("speed", [{"memory_bytes": 2**20, "layer": "a"}, {"memory_bytes": None, "layer": "b"}])
    assert [(column.title, column.numeric) for column in table.columns] == [("Layer", False), ("Memory", True)]
    assert [text_of(row.cells[1]) for row in table.rows] == ["1.0 MiB", "–"]
    assert table.rows[0].cells[1].sort == 2**20


def test_a_page_of_a_record_has_no_raw_names(tmp_path: Path) -> None:
    log = "\n".join(f"line {number}" for number in range(40))
    reason = "the compiler failed\n" + "at " * 400
    rows = [{"from_length": 512, "to_length": 65536, "exponent": 0.904, "layer": "every token"}]
    timing = {"process_peak_memory_bytes": 2742919168, "tokens_per_second_definition": "positions"}
    record = make_record(
        status="failed", reason=reason, log_tail=log, timing=timing, metrics={"last_test_accuracy": 0.5},
        tables={"growth_with_length": rows},
    )  # fmt: skip
    site = build.build([store([record], tmp_path / "runs")], tmp_path / "site").parent
    page = Document(site / "cells" / f"{record.cell.id}.html")
    shown = page.text[page.text.index("Results") :]
    for piece in (
        "Growth of the time with length",
        "From length",
        "65,536",
        "test accuracy after the last epoch",
        "2.6 GiB",
    ):
        assert piece in shown
    for raw in ("growth_with_length", "last_test_accuracy", "peak_memory_bytes", "tokens_per_second", "2742919168"):
        assert raw not in shown
    assert page.count("details") == 2
    assert "line 39" in shown
    short = make_record(status="failed", reason="killed", log_tail="line 1")
    site = build.build([store([short], tmp_path / "few")], tmp_path / "short").parent
    assert Document(site / "cells" / f"{short.cell.id}.html").count("details") == 0


def test_names_of_layers_are_explained_and_one_value_has_no_figure() -> None:
    assert speed.meaning("BST:MF:S4") == "Block-State Transformer layer, multi-filter, whose states come from S4"
    assert speed.meaning("about 25 %").startswith("SeqBoat whose initial gate lets about 25 %")
    assert speed.meaning("XL:2048") == "Transformer-XL layer with a window of 2,048"
    assert speed.meaning("s5") == ""
    (one,) = frames.groups([make_record()], published.shipped())
    (two,) = frames.groups([make_record(), make_record(seed=1)], published.shipped())
    assert figures.seed_dots(one, "one") is None
    assert figures.seed_dots(two, "two") is not None
