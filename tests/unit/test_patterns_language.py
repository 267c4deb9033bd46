from __future__ import annotations

import pytest

from pattern_tracker.patterns import language
from pattern_tracker.patterns.language import language_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/p/a.py", "python"),
        ("/p/A.PY", "python"),
        ("a.tsx", "typescript"),
        ("a.jsx", "javascript"),
        ("run.sh", "shell"),
        ("nb.ipynb", "notebook"),
        ("C:\\x\\main.rs", "rust"),
        ("/p/Dockerfile", "dockerfile"),
        ("/p/Dockerfile.dev", "dockerfile"),
        ("/p/.env", "dotenv"),
        ("/p/.env.local", "dotenv"),
        ("/p/CMakeLists.txt", "cmake"),
        ("/p.py/README", "text"),
        ("/p/notes.unknown", "text"),
        ("/p/py", "text"),
        ("", "text"),
    ],
)
def test_language_of_a_name(path: str, expected: str) -> None:
    assert language_of(path) == expected


@pytest.mark.parametrize(
    ("first_line", "expected"),
    [
        ("#!/usr/bin/env python3", "python"),
        ("#!/usr/bin/python3.11 -I", "python"),
        ("#! /bin/sh", "shell"),
        ("#!/usr/bin/env -S FOO=1 node --x", "javascript"),
        ("#!/opt/unknown", "text"),
        ("#!", "text"),
        ("#!/usr/bin/env", "text"),
        ("# python", "text"),
    ],
)
def test_language_by_interpreter_where_the_name_says_nothing(
    first_line: str, expected: str
) -> None:
    assert language_of("/bin/tool", first_line + "\nx\n") == expected
    assert language_of("/bin/tool.rb", first_line) == "ruby"


def test_language_names_fit_the_api() -> None:
    for name in (*language._EXTENSIONS_OF, *language._NAMES_OF, *language._INTERPRETERS_OF):
        assert name == name.lower()
        assert 0 < len(name) <= 50
    assert len(language._EXTENSIONS_OF) >= 60


@pytest.mark.parametrize("table", ["_EXTENSIONS_OF", "_NAMES_OF", "_INTERPRETERS_OF"])
def test_language_tables_name_no_key_twice(table: str) -> None:
    keys = [key for keys in getattr(language, table).values() for key in keys.split()]
    assert len(keys) == len(set(keys))
