"""What can be configured, and where each value came from.

Environment over `config.toml` over defaults for a command that a person typed;
`config.toml` over defaults for whatever a hook starts, because a cloned project
can set any variable that a hook sees.  `Settings` checks itself when built; this
module names the variable or the key of the file that a bad value came from.

It refuses to guess: an unknown key, a relative directory, a URL that carries a
password or a token file that others can read is an error, never a warning.
Imports are kept out of the module's top because `pattern-tracker stats` pays
for each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from pattern_tracker.config_keys import KEYS, TOKEN_FILE_KEY, Key, from_text, from_toml
from pattern_tracker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APPLICATION: Final = "pattern-tracker"
CONFIG_FILE_NAME: Final = "config.toml"
HIDDEN: Final = "(hidden)"
DEFAULT_SOURCE: Final = "default"
# The embedded API as a destination; not a URL, so none can be mistaken for it.
EMBEDDED: Final = "embedded"

# Generous: they only keep arithmetic on a typing error within sane numbers.
_ONE_DAY_SECONDS = 86_400.0
_HUNDRED_YEARS_DAYS = 36_500.0
_ONE_TERABYTE_MB = 1_000_000.0

_HIGHEST: Final[dict[str, float]] = {
    "request_timeout_seconds": _ONE_DAY_SECONDS,
    "max_age_days": _HUNDRED_YEARS_DAYS,
    "max_size_mb": _ONE_TERABYTE_MB,
    "breaker_timeout_seconds": _ONE_DAY_SECONDS,
    "health_interval_seconds": _ONE_DAY_SECONDS,
    "health_timeout_seconds": _ONE_DAY_SECONDS,
}
_HIGHEST_THRESHOLD = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Everything that can be configured, checked when built.

    Attributes:
        service_url: Base URL without a trailing slash; None means the embedded
            API on a unix socket in the state directory.
        api_token: Sent as a bearer token; never shown by `repr`.
        ca_file: Certificates to trust in addition to the system's.
        proxy_url: HTTP proxy for the service; may carry a password, so never shown.
            None: the one that the environment names, if any.
        token_over_plain_http: Send the token over http to other machines too.
        request_timeout_seconds: For one request to the API.
        tracking_enabled: False switches recording off.
        state_dir: Absolute; see `pattern_tracker.state_dir`.
        max_age_days: How long an undelivered event is kept.
        max_size_mb: Spool and undelivered bodies together, in millions of bytes.
        breaker_failure_threshold: Consecutive failures that open the breaker.
        breaker_timeout_seconds: First time that the breaker stays open.
        health_interval_seconds: How long a good health answer is believed.
        health_timeout_seconds: For one health check.

    Raises:
        SettingsError: a value cannot be used; its `key` is the attribute's name.
    """

    service_url: str | None = None
    api_token: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    proxy_url: str | None = field(default=None, repr=False)
    token_over_plain_http: bool = False
    request_timeout_seconds: float = 10.0
    tracking_enabled: bool = True
    state_dir: Path
    max_age_days: float = 7.0
    max_size_mb: float = 50.0
    breaker_failure_threshold: int = 3
    breaker_timeout_seconds: float = 60.0
    health_interval_seconds: float = 30.0
    health_timeout_seconds: float = 1.0

    @property
    def destination(self) -> str:
        """What the ledger knows the configured API by."""
        return self.service_url or EMBEDDED

    def __post_init__(self) -> None:
        if self.service_url is not None:
            object.__setattr__(self, "service_url", _canonical_url(self.service_url))
        if self.api_token is not None:
            _check_token(self.api_token)
        if self.proxy_url is not None:
            _check_proxy(self.proxy_url)
        _check_path("state_dir", self.state_dir)
        if self.ca_file is not None:
            _check_path("ca_file", self.ca_file)
        for name, highest in _HIGHEST.items():
            _check_number(name, getattr(self, name), highest)
        threshold = self.breaker_failure_threshold
        if not 1 <= threshold <= _HIGHEST_THRESHOLD:
            problem = f"must be a whole number from 1 to {_HIGHEST_THRESHOLD}"
            raise _unusable("breaker_failure_threshold", threshold, problem)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """Settings, and for each attribute's name the source of its value.

    A source is `environment NAME`, `config.toml section.key` or `default`.
    """

    settings: Settings
    sources: Mapping[str, str]
    config_file: Path


class _Found(NamedTuple):
    """A value, what the user calls it, and where to go to change it."""

    value: object
    key: str
    place: str
    source: str


def default_config_file() -> Path:
    """`config.toml` in the platform's configuration directory."""
    import platformdirs  # noqa: PLC0415 - start-up cost

    return platformdirs.user_config_path(APPLICATION) / CONFIG_FILE_NAME


def default_state_dir() -> Path:
    """The platform's state directory, never one that holds the program or its configuration."""
    import platformdirs  # noqa: PLC0415 - start-up cost

    state = platformdirs.user_state_path(APPLICATION)
    # macOS has one directory for all three; `--uninstall` must be able to tell them apart.
    shared = {platformdirs.user_data_path(APPLICATION), platformdirs.user_config_path(APPLICATION)}
    return state / "state" if state in shared else state


def load_settings(*, environ: Mapping[str, str] | None, config_file: Path | None = None) -> Loaded:
    """Read the configuration afresh.

    Args:
        environ: The variables to honour; None for what a hook starts.
        config_file: Instead of the platform's.

    Raises:
        SettingsError: names the key, the value (never a token) and its source.
    """
    path = default_config_file() if config_file is None else config_file
    found = _from_file(path)
    if environ is not None:
        from_environment = _from_environment(environ)
        _withhold_token(found, from_environment)
        found |= from_environment
    values = {name: item.value for name, item in found.items()}
    values.setdefault("state_dir", default_state_dir())
    try:
        settings = Settings(**values)  # type: ignore[arg-type]  # each was converted by its kind
    except SettingsError as error:
        raise _named_as_found(error, found) from None
    _check_ca_file(settings.ca_file, found)
    sources = {
        key.field: found[key.field].source if key.field in found else DEFAULT_SOURCE for key in KEYS
    }
    return Loaded(settings=settings, sources=sources, config_file=path)


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Found]:
    found = {}
    for key in KEYS:
        # An empty variable is how a shell says "not set" for one command.
        text = environ.get(key.variable, "") if key.variable else ""
        if text and key.variable:
            place = "the environment"
            value = _convert(key, text, name=key.variable, place=place, textual=True)
            found[key.field] = _Found(value, key.variable, place, f"environment {key.variable}")
    return found


def _from_file(path: Path) -> dict[str, _Found]:
    from pattern_tracker import config_file  # noqa: PLC0415 - start-up cost

    values = config_file.read_config(path)
    found = {}
    for key in KEYS:
        if key.in_file in values:
            raw = values[key.in_file]
            value = _convert(key, raw, name=key.in_file, place=str(path), textual=False)
            source = f"{CONFIG_FILE_NAME} {key.in_file}"
            found[key.field] = _Found(value, key.in_file, str(path), source)
    if TOKEN_FILE_KEY in values:
        token = config_file.read_token_file(values[TOKEN_FILE_KEY], place=str(path))
        source = f"{CONFIG_FILE_NAME} {TOKEN_FILE_KEY}"
        found["api_token"] = _Found(token, TOKEN_FILE_KEY, str(path), source)
    return found


def _withhold_token(in_file: dict[str, _Found], in_environment: Mapping[str, _Found]) -> None:
    """Drop the file's token where the environment names another service.

    The token was given for the URL beside it.  A project's environment that
    changes only the URL must not be able to collect the token.
    """
    ours, theirs = in_file.get("service_url"), in_environment.get("service_url")
    if ours is None or theirs is None or "api_token" not in in_file:
        return
    if str(ours.value).rstrip("/") != str(theirs.value).rstrip("/"):
        del in_file["api_token"]


def _convert(key: Key, raw: object, *, name: str, place: str, textual: bool) -> object:
    shown = HIDDEN if key.kind == "token" else raw
    try:
        value = from_text(key.kind, str(raw)) if textual else from_toml(key.kind, raw)
    except ValueError as error:
        raise SettingsError(key=name, value=shown, source=place, problem=str(error)) from None
    return value


def _canonical_url(url: str) -> str:
    from urllib.parse import urlsplit  # noqa: PLC0415 - start-up cost

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        # Without the error's own text: it may take a password for a port, and quote it.
        raise _unusable("service_url", HIDDEN, "is not a URL") from None
    # Shown without what may be a secret: query and fragment, and, however mistyped, whatever
    # stands before an @.
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    if "@" in url:
        shown = HIDDEN
    if parts.scheme not in {"http", "https"} or not host or _has_blank(url):
        raise _unusable("service_url", shown, "must look like https://host or http://host:port")
    if "@" in parts.netloc:
        problem = (
            "must not carry a user or password; put the token in INTELLIGENCE_API_TOKEN"
            " or service.token of the config file"
        )
        raise _unusable("service_url", shown, problem)
    if "?" in url or "#" in url:
        raise _unusable("service_url", shown, "must not carry a query or fragment")
    return url.rstrip("/")


def _check_proxy(url: str) -> None:
    from urllib.parse import urlsplit  # noqa: PLC0415 - start-up cost

    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and not _has_blank(url)
    except ValueError:
        usable = False
    if not usable:
        raise _unusable("proxy_url", HIDDEN, "must look like http://proxy.example.com:3128")


def _check_token(token: str) -> None:
    if not token or _has_blank(token) or not token.isascii():
        problem = "must be printable ASCII without spaces, as it is sent in an HTTP header"
        raise _unusable("api_token", HIDDEN, problem)


def _check_path(name: str, path: Path) -> None:
    if not path.is_absolute():
        raise _unusable(name, str(path), "must be an absolute path")
    if any(ord(character) < 32 or ord(character) == 127 for character in str(path)):
        raise _unusable(name, str(path), "must not contain control characters")


def _check_number(name: str, value: float, highest: float) -> None:
    if not (math.isfinite(value) and 0 < value <= highest):
        raise _unusable(name, value, f"must be more than 0 and at most {highest:g}")


def _has_blank(text: str) -> bool:
    return any(ord(character) <= 32 or ord(character) == 127 for character in text)


def _unusable(name: str, value: object, problem: str) -> SettingsError:
    return SettingsError(key=name, value=value, source="the program", problem=problem)


def _named_as_found(error: SettingsError, found: Mapping[str, _Found]) -> SettingsError:
    item = found.get(error.key)
    if item is None:
        return error
    return SettingsError(key=item.key, value=error.value, source=item.place, problem=error.problem)


def _check_ca_file(path: Path | None, found: Mapping[str, _Found]) -> None:
    if path is not None and not path.is_file():
        error = _unusable("ca_file", str(path), "is not a file that can be read")
        raise _named_as_found(error, found)
