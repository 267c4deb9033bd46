"""Where the token of a TCP address comes from: the environment, or a private file.

Never the command line, which every user of the machine can read.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from pattern_intelligence.errors import AccessTokenError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TOKEN_VARIABLE: Final = "INTELLIGENCE_API_TOKEN"  # noqa: S105 - the name, not the token
# No token is longer; a wrong file might be endless.
_MAX_TOKEN_BYTES: Final = 4096


def find_token(*, token_file: Path | None, environment: Mapping[str, str]) -> str:
    """The token, without surrounding white space; the file is preferred where named.

    Raises:
        AccessTokenError: there is none, or others can read or could have written the file.
    """
    if token_file is not None:
        token = _read_private_file(token_file).strip()
        source = str(token_file)
    else:
        token = environment.get(TOKEN_VARIABLE, "").strip()
        source = TOKEN_VARIABLE
    if not token:
        raise AccessTokenError(
            f"Serving on TCP needs a token, and {source} holds none. Set {TOKEN_VARIABLE}, or"
            " name a file of mode 0600 with --token-file, or serve on a unix socket (--socket)."
        )
    return token


def _read_private_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise AccessTokenError(
            f"{path}: cannot be read ({error.strerror}). Name a readable file with --token-file."
        ) from error
    try:
        # Asked of the open file, not of the name: nobody can swap it in between.
        _require_private(path, os.fstat(descriptor))
        return os.read(descriptor, _MAX_TOKEN_BYTES).decode()
    except UnicodeDecodeError as error:
        raise AccessTokenError(f"{path}: is not text. Write the token as one line.") from error
    finally:
        os.close(descriptor)


def _require_private(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise AccessTokenError(f"{path}: is not a file. Name one with --token-file.")
    if found.st_uid != os.getuid():
        raise AccessTokenError(
            f"{path}: belongs to user {found.st_uid}, this process runs as {os.getuid()}."
            " Use a token file of your own."
        )
    if mode & 0o177:
        raise AccessTokenError(
            f"{path}: has mode {mode:04o}, so others may know the token."
            f" Make a new token and protect it (chmod 600 '{path}')."
        )
