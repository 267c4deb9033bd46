"""What `pattern-tracker config` has to say."""

from __future__ import annotations

from pattern_tracker.config_report import report_config


def row(report, key):
    return next(row for row in report.rows if row.key == key)


def test_report_says_where_shell_and_daemon_differ(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("[health]\ntimeout = 2\n")
    environ = {"INTELLIGENCE_SERVICE_URL": "http://h", "HEALTH_CHECK_TIMEOUT": "2"}
    report = report_config(environ, path)
    assert [r.key for r in report.differences] == ["service.url"]
    url = row(report, "service.url")
    assert (url.value, url.source) == ("http://h", "environment INTELLIGENCE_SERVICE_URL")
    assert url.daemon_value.startswith("embedded")
    assert row(report, "health.timeout").daemon_source == "config.toml health.timeout"
    assert report.config_file_exists


def test_report_never_shows_a_token_but_sees_that_two_differ(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[service]\ntoken = "in-the-file"\n')
    path.chmod(0o600)
    report = report_config({"INTELLIGENCE_API_TOKEN": "in-the-shell"}, path)
    assert "in-the" not in repr(report)
    assert row(report, "service.token").value == "set"
    assert row(report, "service.token").differs
    assert row(report_config({}, tmp_path / "none"), "service.token").value == "not set"
