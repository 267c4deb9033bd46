"""What the installer takes over from its own environment into `config.toml`.

The daemon is started from hooks, whose environment is not trusted, so it sees
only the file.  A destination that the user has in the shell would never reach it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pattern_tracker.client.destination import Destination
from pattern_tracker.config_file import read_config, write_config_values
from pattern_tracker.config_keys import KEYS, TOKEN_FILE_KEY
from pattern_tracker.errors import SettingsError
from pattern_tracker.settings import HIDDEN, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pattern_tracker.installation.steps import Steps
    from pattern_tracker.settings import Settings

_TAKEN_OVER: Final = {
    key.in_file: key.variable
    for key in KEYS
    if key.variable and key.in_file in {"service.url", "service.token", "cache.dir"}
}


def take_over_environment(environ: Mapping[str, str], config_file: Path, steps: Steps) -> Settings:
    """Write destination, token and directory into the file; the settings that a hook's daemon sees.

    Raises:
        SettingsError: a value in the environment or the file cannot be used, or the
            URL is a new one and the file's token was given for the old one.
    """
    present = [key for key, variable in _TAKEN_OVER.items() if environ.get(variable)]
    only = {_TAKEN_OVER[key]: environ[_TAKEN_OVER[key]] for key in present}
    wanted = load_settings(environ=only, config_file=config_file).settings
    current = read_config(config_file)
    values: dict[str, str | float | bool | None] = {}
    if "service.url" in present:
        values["service.url"] = wanted.service_url
        _refuse_to_move_a_token(current, wanted, config_file)
    if "service.token" in present:
        values["service.token"] = wanted.api_token
        if TOKEN_FILE_KEY in current:
            values[TOKEN_FILE_KEY] = None
    if "cache.dir" in present:
        values["cache.dir"] = str(wanted.state_dir)
    if wanted.service_url and wanted.proxy_url is None:
        proxy = Destination(base_url=wanted.service_url).proxy()
        if proxy:
            values["service.proxy"] = proxy
            steps.note("a proxy from the environment goes to service.proxy, for the daemon")
    changed = any(current.get(key) != value for key, value in values.items())
    if changed and not steps.dry_run:
        write_config_values(config_file, values)
    if present:
        names = ", ".join(_TAKEN_OVER[key] for key in present)
        steps.report(f"write {names} from the environment to {config_file}", changed=changed)
    return wanted


def _refuse_to_move_a_token(
    current: Mapping[str, object], wanted: Settings, config_file: Path
) -> None:
    has_token = "service.token" in current or TOKEN_FILE_KEY in current
    if has_token and wanted.api_token is None:
        raise SettingsError(
            key="service.token",
            value=HIDDEN,
            source=str(config_file),
            problem="was given for another service.url; set INTELLIGENCE_API_TOKEN together with"
            " INTELLIGENCE_SERVICE_URL, or remove the token from the file",
        )
