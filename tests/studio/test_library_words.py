"""Versions in order, searches that find, facts that hold."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from edgestudio.studio.library.facts import checked_facts, facts_of
from edgestudio.studio.library.search import search
from edgestudio.studio.library.semantic_version import in_order, parse_version
from edgestudio.studio.rows import ModelRow
from edgestudio.wire.errors import InputError

ORDERED = [
    "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
    "1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0",
]  # fmt: skip
ROW = ModelRow("a" * 64, "MobileNet v2", "/m.onnx", "onnx", 1_500_000, 0.0)


def test_versions_come_in_the_order_of_the_standard():
    shuffled = [*ORDERED, "latest"]
    random.Random(1).shuffle(shuffled)
    assert in_order(shuffled) == ["latest", *ORDERED]
    assert str(parse_version("v1.2.3")) == "1.2.3"
    assert str(parse_version("1.2.3").next_patch) == "1.2.4"
    assert str(parse_version("1.2.3-rc.1").next_patch) == "1.2.3"
    assert not parse_version("1.0.0+a") < parse_version("1.0.0+b")


@pytest.mark.parametrize(
    "bad", ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-01", "one", "1.2.3 ", "1.0.0-ä", "9" * 200]
)
def test_what_is_no_version_is_refused(bad):
    if bad.strip() != bad:
        assert str(parse_version(bad)) == bad.strip()
        return
    with pytest.raises(InputError) as caught:
        parse_version(bad)
    assert caught.value.code == "bad-version"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("mobilenet", True),
        ("tag:release format:onnx", True),
        ("tag:rel*", True),
        ("tag:rel", False),
        ("op:Conv size<2M", True),
        ("op:Con", False),
        ("size>2M", False),
        ("accuracy>=0.9", True),
        ("accuracy>0.99", False),
        ("map50>0.5", True),
        ("unknown_metric>0", False),
        ("version:1.2.0", True),
        ("version>=1.2", True),
        ("version<1.10.0", True),
        ("version>1.2.0", False),
        ("parent:none", True),
        ('name:"mobilenet v2"', True),
        ("note:kitchen", True),
        ("-tag:release", False),
        ("macs>1", False),
    ],
)
def test_a_search_finds(query, found):
    row = replace(
        ROW, tags=("release",), version="1.2.0", note="for the kitchen", summary={"operators": {"Conv": 3}},
        after={"accuracy": {"top1": 0.95, "n": 100}}, facts={"metrics": {"map50": 0.6}},
    )  # fmt: skip
    assert search([row], query) == ([row] if found else [])


@pytest.mark.parametrize("query", ["color:red", "size>big", 'name:"open'])
def test_a_search_that_makes_no_sense_is_refused(query):
    with pytest.raises(InputError) as caught:
        search([ROW], query)
    assert caught.value.code == "bad-query"


def test_facts_are_checked_and_joined():
    with pytest.raises(InputError, match="training_date"):
        checked_facts({"training_date": "yesterday"})
    with pytest.raises(InputError, match="colour"):
        checked_facts({"colour": "red"})
    said = checked_facts({"training_date": "2026-03-31T10:00", "metrics": {"top1": 0.9}})
    assert said == {"training_date": "2026-03-31", "metrics": {"top1": 0.9}}
    row = replace(
        ROW, facts=said, summary={"metadata": {"date": "2020-01-01", "dataset": "coco 2017"}, "producer": "torch"},
        after={"accuracy": {"top1": 0.8, "n": 10}}, steps=({"tools": {"onnxruntime": "1.25"}},),
    )  # fmt: skip
    known = facts_of(row)
    assert known["training_date"] == "2026-03-31"
    assert known["dataset_version"] == "coco 2017"
    assert known["metrics"] == {"top1": 0.9, "top1_n": 10.0}
    assert known["tools"] == {"producer": "torch", "onnxruntime": "1.25"}


@pytest.mark.parametrize(
    ("query", "said"),
    [("size<", "lacks its number"), ("size<big", "not a number"), ("version>x", "no semantic")],
)
def test_a_comparison_with_nothing_is_refused(query, said):
    with pytest.raises(InputError) as caught:
        search([ROW], query)
    assert said in caught.value.message
