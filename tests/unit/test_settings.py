"""Settings: precedence, sources, and what each bad value is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pattern_tracker.errors import SettingsError
from pattern_tracker.settings import (
    Settings,
    default_config_file,
    default_state_dir,
    load_settings,
)

STATE = Path("/state")


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.toml"

    def write(text, mode=0o600):
        path.write_text(text)
        path.chmod(mode)
        return path

    return write


def test_nothing_configured_gives_defaults_and_says_so(private_home):
    loaded = load_settings(environ={})
    assert loaded.settings == Settings(
        state_dir=private_home / ".local" / "state" / "pattern-tracker"
    )
    assert set(loaded.sources.values()) == {"default"}
    assert loaded.config_file == private_home / ".config" / "pattern-tracker" / "config.toml"


def test_every_variable_is_read(tmp_path):
    loaded = load_settings(
        environ={
            "INTELLIGENCE_SERVICE_URL": "https://api.example/base/",
            "INTELLIGENCE_API_TOKEN": "t0k",
            "PATTERN_TRACKING_ENABLED": "off",
            "PATTERN_CACHE_DIR": str(tmp_path),
            "PATTERN_CACHE_MAX_AGE_DAYS": "1.5",
            "PATTERN_CACHE_MAX_SIZE_MB": "10",
            "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "5",
            "CIRCUIT_BREAKER_TIMEOUT": "7",
            "HEALTH_CHECK_INTERVAL": "8",
            "HEALTH_CHECK_TIMEOUT": "9",
        }
    )
    assert loaded.settings == Settings(
        service_url="https://api.example/base",
        api_token="t0k",
        tracking_enabled=False,
        state_dir=tmp_path,
        max_age_days=1.5,
        max_size_mb=10,
        breaker_failure_threshold=5,
        breaker_timeout_seconds=7,
        health_interval_seconds=8,
        health_timeout_seconds=9,
    )
    assert loaded.sources["service_url"] == "environment INTELLIGENCE_SERVICE_URL"


def test_every_key_of_the_file_is_read(config, tmp_path):
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    path = config(
        f"""
        [service]
        url = "http://127.0.0.1:8080"
        token = "abc"
        ca_file = "{ca_file}"
        timeout = 3
        [tracking]
        enabled = false
        [cache]
        dir = "~/patterns"
        max_age_days = 2
        max_size_mb = 3.5
        [breaker]
        failure_threshold = 4
        timeout = 5
        [health]
        interval = 6
        timeout = 7
        """
    )
    loaded = load_settings(environ=None, config_file=path)
    assert loaded.settings == Settings(
        service_url="http://127.0.0.1:8080",
        api_token="abc",
        ca_file=ca_file,
        request_timeout_seconds=3,
        tracking_enabled=False,
        state_dir=Path.home() / "patterns",
        max_age_days=2,
        max_size_mb=3.5,
        breaker_failure_threshold=4,
        breaker_timeout_seconds=5,
        health_interval_seconds=6,
        health_timeout_seconds=7,
    )
    assert loaded.sources["health_timeout_seconds"] == "config.toml health.timeout"


def test_environment_wins_over_file_and_is_ignored_for_a_daemon(config):
    path = config("[breaker]\ntimeout = 5\n")
    environ = {"CIRCUIT_BREAKER_TIMEOUT": "6"}
    shell = load_settings(environ=environ, config_file=path)
    daemon = load_settings(environ=None, config_file=path)
    assert shell.settings.breaker_timeout_seconds == 6
    assert daemon.settings.breaker_timeout_seconds == 5


def test_empty_variable_counts_as_not_set(config):
    path = config("[breaker]\ntimeout = 5\n")
    loaded = load_settings(environ={"CIRCUIT_BREAKER_TIMEOUT": ""}, config_file=path)
    assert loaded.settings.breaker_timeout_seconds == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTELLIGENCE_SERVICE_URL", "ftp://host"),
        ("INTELLIGENCE_SERVICE_URL", "host:80"),
        ("INTELLIGENCE_SERVICE_URL", "http://"),
        ("INTELLIGENCE_SERVICE_URL", "http://host:99999"),
        ("INTELLIGENCE_SERVICE_URL", "http://[::1"),
        ("INTELLIGENCE_SERVICE_URL", "http://a b"),
        ("INTELLIGENCE_SERVICE_URL", "http://host/?"),
        ("INTELLIGENCE_SERVICE_URL", "http://host/#x"),
        ("PATTERN_TRACKING_ENABLED", "maybe"),
        ("PATTERN_CACHE_DIR", "relative/dir"),
        ("PATTERN_CACHE_DIR", "~nobody-of-that-name/x"),
        ("PATTERN_CACHE_DIR", "/with\nnewline"),
        ("PATTERN_CACHE_MAX_AGE_DAYS", "0"),
        ("PATTERN_CACHE_MAX_SIZE_MB", "-1"),
        ("PATTERN_CACHE_MAX_SIZE_MB", "1e300"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "0"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "2.5"),
        ("CIRCUIT_BREAKER_TIMEOUT", "nan"),
        ("HEALTH_CHECK_INTERVAL", "inf"),
        ("HEALTH_CHECK_TIMEOUT", "soon"),
    ],
)
def test_bad_variable_is_named_with_its_source(name, value):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={name: value})
    assert caught.value.key == name
    assert caught.value.source == "the environment"


@pytest.mark.parametrize(
    "text",
    [
        "[service]\nurl = 7\n",
        "[service]\nurl = ''\n",
        "[service]\ntimeout = '3'\n",
        "[service]\ntimeout = true\n",
        "[service]\nca_file = '/nowhere/ca.pem'\n",
        "[tracking]\nenabled = 'false'\n",
        "[cache]\ndir = 'here'\n",
        "[breaker]\nfailure_threshold = 3.0\n",
        "[service]\ntoken_file = '/nowhere/token'\n",
        "[service]\ntoken_file = 'token'\n",
        "[service]\ntoken_file = 7\n",
    ],
)
def test_bad_value_in_the_file_is_named_with_the_path(config, text):
    path = config(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=None, config_file=path)
    section, key = text.split("\n")[:2]
    assert caught.value.key == f"{section.strip('[]')}.{key.split()[0]}"
    assert caught.value.source == str(path)


def test_url_with_a_password_is_refused_without_showing_it():
    with pytest.raises(SettingsError, match="put the token in") as caught:
        load_settings(environ={"INTELLIGENCE_SERVICE_URL": "https://me:hunter2@host/p?k=hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2#@host",
        "https://me:hunter2/3@host",
        "https://me:hunter2@host:port",
        "https:/me:hunter2@host",
        "me:hunter2@host",
        "https://[me:hunter2@host",
    ],
)
def test_mistyped_url_is_refused_without_showing_its_password(url):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"INTELLIGENCE_SERVICE_URL": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "tür", "a\nb", "\x7f"])
def test_bad_token_is_refused_without_showing_it(token):
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={"INTELLIGENCE_API_TOKEN": token})
    assert token not in str(caught.value)


def test_token_is_not_in_the_representation():
    assert "s3cret" not in repr(Settings(state_dir=STATE, api_token="s3cret"))


def test_settings_built_directly_are_checked_too():
    with pytest.raises(SettingsError):
        Settings(state_dir=Path("relative"))
    with pytest.raises(SettingsError):
        Settings(state_dir=STATE, health_timeout_seconds=0)


def test_token_of_the_file_does_not_go_to_a_url_from_the_environment(config):
    path = config('[service]\nurl = "https://ours"\ntoken = "abc"\n')
    elsewhere = {"INTELLIGENCE_SERVICE_URL": "https://elsewhere"}
    same = {"INTELLIGENCE_SERVICE_URL": "https://ours/"}
    assert load_settings(environ=elsewhere, config_file=path).settings.api_token is None
    assert load_settings(environ=same, config_file=path).settings.api_token == "abc"
    both = {**elsewhere, "INTELLIGENCE_API_TOKEN": "xyz"}
    assert load_settings(environ=both, config_file=path).settings.api_token == "xyz"


def test_unknown_key_names_the_nearest(config):
    with pytest.raises(SettingsError, match="did you mean 'max_age_days' in \\[cache\\]"):
        load_settings(environ=None, config_file=config("[cache]\nmax_age = 3\n"))
    with pytest.raises(SettingsError, match="did you mean 'url' in \\[service\\]"):
        load_settings(environ=None, config_file=config("url = 'http://x'\n"))


@pytest.mark.parametrize("text", ["[service\n", "a = \n", "\x00"])
def test_invalid_toml_names_the_file(config, text):
    path = config(text)
    with pytest.raises(SettingsError, match=str(path)):
        load_settings(environ=None, config_file=path)


def test_file_with_a_token_that_others_can_read_is_refused_with_the_command(config):
    path = config('[service]\ntoken = "abc"\n', mode=0o640)
    with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
        load_settings(environ=None, config_file=path)


def test_file_with_the_password_of_a_proxy_must_be_private(config):
    text = '[service]\nproxy = "http://me:hunter2@proxy:3128"\n'
    assert load_settings(environ=None, config_file=config(text, mode=0o600)).settings.proxy_url
    path = config(text, mode=0o644)
    with pytest.raises(SettingsError, match=f"chmod 600 {path}") as caught:
        load_settings(environ=None, config_file=path)
    assert "hunter2" not in str(caught.value)


def test_file_without_a_token_may_be_readable(config):
    path = config("[cache]\nmax_age_days = 3\n", mode=0o644)
    assert load_settings(environ=None, config_file=path).settings.max_age_days == 3


def test_token_file_is_read_and_must_be_private(config, tmp_path):
    secret = tmp_path / "token"
    secret.write_text("abc\n")
    secret.chmod(0o600)
    path = config(f'[service]\ntoken_file = "{secret}"\n')
    loaded = load_settings(environ=None, config_file=path)
    assert loaded.settings.api_token == "abc"
    assert loaded.sources["api_token"] == "config.toml service.token_file"
    secret.chmod(0o604)
    with pytest.raises(SettingsError, match=f"chmod 600 {secret}"):
        load_settings(environ=None, config_file=path)


def test_token_and_token_file_together_are_refused(config):
    path = config('[service]\ntoken = "a"\ntoken_file = "/b"\n')
    with pytest.raises(SettingsError, match="remove one"):
        load_settings(environ=None, config_file=path)


def test_state_dir_default_is_a_folder_of_its_own_where_the_platform_has_only_one(monkeypatch):
    one = Path("/Users/me/Library/Application Support/pattern-tracker")
    for name in ("user_state_path", "user_data_path", "user_config_path"):
        monkeypatch.setattr(f"platformdirs.{name}", lambda _name: one)
    assert default_state_dir() == one / "state"
    assert default_config_file() == one / "config.toml"
