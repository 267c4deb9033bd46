"""Where a token may come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pattern_intelligence.access_token import find_token
from pattern_intelligence.errors import AccessTokenError

if TYPE_CHECKING:
    from pathlib import Path


def token_file(folder: Path, *, content: bytes = b"from-file\n", mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def test_token_file_is_preferred_to_the_environment(tmp_path: Path) -> None:
    environment = {"INTELLIGENCE_API_TOKEN": "from-environment"}
    found = find_token(token_file=token_file(tmp_path), environment=environment)
    assert found == "from-file"


def test_token_comes_from_the_environment() -> None:
    assert find_token(token_file=None, environment={"INTELLIGENCE_API_TOKEN": " t "}) == "t"


@pytest.mark.parametrize("value", ["", "  \n"])
def test_no_token_is_refused_naming_the_ways_to_give_one(value: str) -> None:
    with pytest.raises(AccessTokenError, match=r"INTELLIGENCE_API_TOKEN.*--token-file.*--socket"):
        find_token(token_file=None, environment={"INTELLIGENCE_API_TOKEN": value})


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o700])
def test_token_file_that_others_may_know_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(AccessTokenError, match="chmod 600"):
        find_token(token_file=token_file(tmp_path, mode=mode), environment={})


def test_token_file_of_another_user_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = token_file(tmp_path)
    monkeypatch.setattr("os.getuid", lambda: path.stat().st_uid + 1)
    with pytest.raises(AccessTokenError, match="belongs to user"):
        find_token(token_file=path, environment={})


def test_missing_empty_and_binary_token_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AccessTokenError, match="cannot be read"):
        find_token(token_file=tmp_path / "absent", environment={})
    with pytest.raises(AccessTokenError, match="holds none"):
        find_token(token_file=token_file(tmp_path, content=b"\n"), environment={})
    with pytest.raises(AccessTokenError, match="not text"):
        find_token(token_file=token_file(tmp_path, content=b"\xff\xfe"), environment={})
    with pytest.raises(AccessTokenError, match="not a file"):
        find_token(token_file=tmp_path, environment={})
