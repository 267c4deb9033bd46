from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from pattern_tracker.patterns.identity import content_sha256, fragment_id, pattern_id


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a\r\nb\r\n", "a\nb\n"),
        ("a\n", "a"),
        ("a\n\n\n", "a\n"),
        ("a\r\n\r\n", "a"),
        ("\ufeffa", "a"),
    ],
)
def test_pattern_id_ignores_line_ends_final_newlines_and_bom(one: str, other: str) -> None:
    assert pattern_id("python", one) == pattern_id("python", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A", "a"),
        (" a", "a"),
        ("\ta", "    a"),
        ("a # c", "a"),
        ("a\n\nb", "a\nb"),
        ('"a  b"', '"a b"'),
        ("'''a  \nb'''", "'''a\nb'''"),
        ("a  \nb", "a\nb"),
        ("a\rb", "a\nb"),
        ("a\ufeffb", "ab"),
        ("\na", "a"),
        ("a\x0c", "a"),
    ],
)
def test_pattern_id_tells_different_code_apart(one: str, other: str) -> None:
    assert pattern_id("python", one) != pattern_id("python", other)


def test_pattern_id_is_the_same_in_every_version() -> None:
    digest = hashlib.sha256(b"python\0print(1)").hexdigest()
    assert pattern_id("python", "print(1)\n") == digest[:16]
    assert pattern_id("ruby", "print(1)\n") != digest[:16]


def test_fragment_id_is_never_that_of_a_whole_file() -> None:
    assert fragment_id("python", "a") != pattern_id("python", "a")


def notebook(*cells: dict[str, Any], indent: int = 1) -> str:
    return json.dumps(
        {"cells": list(cells), "metadata": {"kernelspec": {}}, "nbformat": 4}, indent=indent
    )


def test_notebook_identity_is_that_of_its_cells() -> None:
    source = {"cell_type": "code", "source": ["a = 1\n", "b"]}
    run = source | {"source": "a = 1\nb", "outputs": [{"text": "x"}], "execution_count": 3}
    assert pattern_id("notebook", notebook(source)) == pattern_id(
        "notebook", notebook(run, indent=2)
    )


@pytest.mark.parametrize(
    "other",
    [
        notebook({"cell_type": "code", "source": "A"}),
        notebook({"cell_type": "markdown", "source": "a"}),
        notebook({"cell_type": "code", "source": "a"}, {"cell_type": "code", "source": ""}),
        "not json",
        "[]",
    ],
)
def test_notebook_identity_changes_with_source_kind_and_number_of_cells(other: str) -> None:
    one = notebook({"cell_type": "code", "source": "a"})
    assert pattern_id("notebook", one) != pattern_id("notebook", other)


def test_content_sha256_is_of_the_exact_bytes() -> None:
    assert content_sha256("é\r\n") == hashlib.sha256("é\r\n".encode()).hexdigest()


def test_lone_surrogates_do_not_break_identity() -> None:
    assert len(pattern_id("text", "\ud800")) == 16
    assert len(content_sha256("\ud800")) == 64
