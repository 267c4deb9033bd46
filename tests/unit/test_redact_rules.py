"""For each kind of secret: what it looks like, and what only resembles it.

No secret is written here as a whole: scanners of repositories would find it.
"""

from __future__ import annotations

import pytest

from pattern_tracker.redact import Redactor, Rule, default_redactor, marker

HEX = "0123456789abcdef"
ALNUM = "A1b2C3d4E5f6G7h8I9j0"
UPPER = "ABCDEFGH234567QR"
DASHES = "-" * 5
BODY = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7"] * 3)
BEGIN = f"{DASHES}BEGIN RSA PRIVATE" + f" KEY{DASHES}"
END = f"{DASHES}END RSA PRIVATE" + f" KEY{DASHES}"
PGP = f"{DASHES}BEGIN PGP PRIVATE" + f" KEY BLOCK{DASHES}"

POSITIVE: dict[str, list[str]] = {
    "aws-access-key": ["AKIA" + UPPER, "x='ASIA" + UPPER + "'"],
    "github-token": [
        "ghp" + "_" + ALNUM * 2,
        "gho" + "_" + ALNUM * 2,
        "github" + "_pat_" + ALNUM * 3,
    ],
    "gitlab-token": ["glpat" + "-" + ALNUM],
    "slack-token": ["xoxb" + "-" + "123456789012-" + ALNUM, "xapp" + "-1-" + ALNUM],
    "slack-webhook": ["https://hooks.slack.com/services/" + "T0001/B0001/" + ALNUM],
    "discord-webhook": ["https://discord.com/api/webhooks/" + "123456789012345678/" + ALNUM * 3],
    "stripe-key": ["sk" + "_live_" + ALNUM, "rk" + "_live_" + ALNUM, "whsec" + "_" + ALNUM * 2],
    "anthropic-key": ["sk" + "-ant-" + "api03-" + ALNUM * 2],
    "openrouter-key": ["sk" + "-or-" + "v1-" + HEX * 4],
    "openai-key": ["sk" + "-" + ALNUM * 2, "sk" + "-proj-" + ALNUM + "_-" + ALNUM],
    "google-api-key": ["AIza" + "Sy" + ALNUM + HEX[:13]],
    "google-oauth-secret": ["GOCSPX" + "-" + ALNUM + HEX[:8]],
    "google-oauth-token": ["ya29" + "." + ALNUM],
    "npm-token": ["npm" + "_" + ALNUM + HEX],
    "pypi-token": ["pypi" + "-" + ALNUM * 3],
    "sendgrid-key": ["SG" + "." + ALNUM + "." + ALNUM * 2],
    "mailgun-key": ["key" + "-" + HEX * 2],
    "twilio-key": ["SK" + HEX * 2],
    "huggingface-token": ["hf" + "_" + ALNUM * 2],
    "digitalocean-token": ["dop" + "_v1_" + HEX * 4],
    "shopify-token": ["shpat" + "_" + HEX * 2, "shpss" + "_" + HEX * 2],
    "square-token": ["sq0atp" + "-" + ALNUM + "ab"],
    "databricks-token": ["dapi" + HEX * 2],
    "linear-key": ["lin" + "_api_" + ALNUM * 2],
    "notion-token": ["ntn" + "_" + ALNUM * 2, "secret" + "_" + ALNUM * 2 + "abc"],
    "postman-key": ["PMAK" + "-" + HEX + HEX[:8] + "-" + HEX * 2 + "ab"],
    "grafana-token": ["glsa" + "_" + HEX * 2 + "_" + HEX[:8]],
    "hashicorp-token": ["hvs" + "." + ALNUM * 2],
    "atlassian-token": ["ATATT3" + ALNUM * 3],
    "doppler-token": ["dp" + ".pt." + ALNUM * 2],
    "docker-token": ["dckr" + "_pat_" + ALNUM],
    "newrelic-key": ["NRAK" + "-" + UPPER + UPPER[:11]],
    "sentry-token": ["sntrys" + "_" + ALNUM * 2],
    "replicate-token": ["r8" + "_" + ALNUM * 2],
    "groq-key": ["gsk" + "_" + ALNUM * 2],
    "xai-key": ["xai" + "-" + ALNUM * 3],
    "telegram-bot-token": ["123456789" + ":AA" + ALNUM + HEX[:13]],
    "azure-storage-key": ["AccountName=x;Account" + "Key=" + ALNUM * 4 + "=="],
    "azure-sas": ["?sv=1&" + "sig=" + ALNUM * 2 + "%3D"],
    "azure-client-secret": ["abc8Q" + "~" + ALNUM + HEX[:14]],
    "age-secret-key": ["AGE-SECRET" + "-KEY-1" + UPPER * 3 + UPPER[:10]],
    "jwt": [
        "eyJ" + ALNUM + ".eyJ" + ALNUM + "." + ALNUM,
        "eyJ" + ALNUM + ".." + ".".join([ALNUM] * 3),
    ],
    "private-key": [
        f"{BEGIN}\n{BODY}\n{END}",
        f"{BEGIN}\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AB\n\n{BODY}\n{END}",
        "key = '" + f"{BEGIN}\n{BODY}\n{END}".replace("\n", "\\n") + "'",
        f"{BEGIN}\n{BODY}\nMIIE",
        f"{BODY}\nabc=\n{END}\n",
        f'"{BEGIN}\\n" +\n"{BODY[:52]}\\n" +\n',
        f"{PGP}\nVersion: GnuPG v2\n\n{BODY}",
    ],
    "putty-private-key": ["Private-" + "Lines: 2\n" + ALNUM * 3 + "\n" + ALNUM + "\n"],
    "bearer-token": ["Authorization: Bearer " + ALNUM, "-H 'authorization: bearer " + ALNUM + "'"],
    "basic-auth": [
        "Authorization: Basic " + "dXNlcjpwYXNz",
        '"Authorization": "Basic ' + 'dXNlcjpwYXNz"',
    ],
    "url-password": [
        "postgres://app:" + "hunter2@db.local/x",
        "redis://:" + "hunter2@cache:6379",
        "https://u:" + "p@ss@h/x",
    ],
    "user-flag": ["curl -s -u bob:" + "hunter2 http://h/", "curl --user=bob:" + "hunter2"],
    "secret-flag": [
        "tool --password " + "hunter2",
        "tool --api-key=" + "abcdef12",
        "x --db-token '" + "abcd1234'",
    ],
    "secret-element": ["<password>" + "hunter2</password>", "<db.secret>" + "hunter2</db.secret>"],
    "sql-password": [
        "CREATE USER x IDENTIFIED BY '" + "hunter2'",
        "ROLE x WITH PASSWORD '" + "hunter2'",
    ],
    "assigned-secret": [
        'password = "' + 'hunter2"',
        "passwd: str = '" + "hunter2'",
        'const char *secret = "' + 'x9ff1234"',
        'password := "' + 'hunter2"',
        "password => '" + "hunter2'",
        'password = """' + 'hunter2"""',
        'SECRET_KEY = b"' + 'abcdef12"',
        'if password == "' + 'hunter2":',
        'passphrase = "' + 'correct horse battery"',
        "os.environ['DB_PASSWORD'] = '" + "hunter2'",
        'password = "!' + 'Passw0rd"',
        'password = "@' + 'hunter2"',
        'password = "my-' + 'hunter2"',
        "password = 'a-" + "1b2c3d4e'",
        "DB_PASSWORD=" + "correcthorse",
        "export API_TOKEN=" + ALNUM,
        "PASSWORD_2=" + "12345678",
        "password: " + "hunter2",
        "  password: " + "postgres\n",
        "password: |\n  " + "hunter2",
        '"password": "' + 'hunter2"',
        '{\\"password\\": \\"' + 'hunter2\\"}',
        "?token=" + "abc12345def&x=1",
        "Server=x;Password=" + "hunter2;",
        'apiKey: "' + ALNUM + '"',
        '"aws_secret_access_key": "/' + ALNUM * 2 + '"',
        'password="' + "unterminated1",
    ],
}

NEGATIVE: dict[str, list[str]] = {
    "aws-access-key": ["AKIA", "AKIA" + UPPER + "X", "MAKIA" + UPPER, "AKIA" + UPPER.lower()],
    "github-token": ["ghp_" + "short", "xghp" + "_" + ALNUM * 2],
    "gitlab-token": ["glpat-", "glpat-<token>"],
    "slack-token": ["xoxb-", "xoxb-token"],
    "slack-webhook": ["https://hooks.slack.com/services/"],
    "discord-webhook": ["https://discord.com/api/webhooks/1/x"],
    "stripe-key": ["sk_live_", "pk" + "_live_" + ALNUM],
    "anthropic-key": ["sk-ant-", "sk-ant-..."],
    "openrouter-key": ["sk-or-not"],
    "openai-key": ["sk-", "task-" + ALNUM * 2, "sk-some-css-class-name-that-is-long"],
    "google-api-key": ["AIza"],
    "google-oauth-secret": ["GOCSPX-x"],
    "google-oauth-token": ["ya29.x"],
    "npm-token": ["npm_config_cache", "npm_lifecycle_event"],
    "pypi-token": ["pypi-publish"],
    "sendgrid-key": ["SG.x.y", "MSG." + ALNUM],
    "mailgun-key": ["key-" + "value"],
    "twilio-key": ["SK" + HEX, "TASK" + HEX * 2],
    "huggingface-token": ["hf_hub_download"],
    "digitalocean-token": ["dop_v1_x"],
    "shopify-token": ["shpat_x"],
    "square-token": ["sq0atp-x"],
    "databricks-token": ["dapi", "dapi" + HEX * 3],
    "linear-key": ["lin_api_x"],
    "notion-token": ["secret_name"],
    "postman-key": ["PMAK-x"],
    "grafana-token": ["glsa_x"],
    "hashicorp-token": ["hvs.x"],
    "atlassian-token": ["ATATT3x"],
    "doppler-token": ["dp.pt.x"],
    "docker-token": ["dckr_pat_x"],
    "newrelic-key": ["NRAK-x"],
    "sentry-token": ["sntrys_x"],
    "replicate-token": ["r8_x"],
    "groq-key": ["gsk_x"],
    "xai-key": ["xai-" + "model"],
    "telegram-bot-token": ["12:30:AA", "123456789:AAx"],
    "azure-storage-key": ["AccountKey=<key>"],
    "azure-sas": ["?sig=x"],
    "azure-client-secret": ["8Q~x"],
    "age-secret-key": ["AGE-SECRET-KEY-1x"],
    "jwt": ["eyJ" + ALNUM, "eyJ" + ALNUM + "." + ALNUM, "eyJx.y.z"],
    "private-key": [
        BEGIN,
        f"if '{BEGIN}' in text:",
        f"{BEGIN}\\n" + "{key}" + f"\\n{END}",
        BEGIN.replace("PRIVATE", "PUBLIC") + f"\n{BODY}\n",
        END,
    ],
    "putty-private-key": ["Private-Lines: 0\n"],
    "bearer-token": ["Bearer <token>", "Bearer {token}", "a bearer of news", "Bearer ${TOKEN}"],
    "basic-auth": ["Basic usage", "Basic authentication", "Authorization: Basic <credentials>"],
    "url-password": [
        "http://localhost:8080/a@b",
        "https://user@host/",
        "https://{user}:{password}@host",
        "https://user:${PASS}@host",
        "http://user:password@host",
    ],
    "user-flag": ["docker run -u 1000:1000", "curl -u $USER:$PASS", "curl -u bob:${PASS}"],
    "secret-flag": [
        "--token TOKEN",
        "--password <pw>",
        "--token $TOKEN",
        "--password-file x1234567",
        "--token",
    ],
    "secret-element": [
        "<password>changeme</password>",
        "<password></password>",
        "<label>Password</label>",
    ],
    "sql-password": ["IDENTIFIED BY '${PW}'", "IDENTIFIED BY ''"],
    "assigned-secret": [
        "password: str",
        "password: string;",
        "secret: Optional[str] = None",
        "access_token: Mapped[str]",
        "token: Token",
        'def f(password: str, x="hello12"): pass',
        'password = os.environ["PASSWORD"]',
        'password = getenv("DB_PASSWORD")',
        "token: process.env.TOKEN1,",
        'password = input("Password: ")',
        "token = next(tokens)",
        "token = tokens[i]",
        "token = self.token1",
        "password = user_password",
        "password: hashedPassword",
        "f(password=password)",
        "api_key=settings.api_key",
        "secret = config.secret1",
        '$password = $_POST["password"]',
        'password = ""',
        "password = None",
        '"password": null,',
        '"token": true',
        '"secret": {"name": "x"}',
        'token = "<your-token>"',
        'api_key = "${API_KEY}"',
        'password = "{{ db_password }}"',
        'secret = "..."',
        'token = "xxxxxxxxxxxx"',
        'password="changeme"',
        "PASSWORD=$DB_PASSWORD",
        "PASSWORD=$(cat file)",
        'password = "your-password-here"',
        "password: *default1",
        "password: !vault abc",
        "max_tokens=4096",
        'tokenizer = "gpt2"',
        'password_field = "abc12345"',
        'if token == "while":',
        '"password": "Please enter your password"',
        'pwd: "/home/user1"',
        "PWD=/home/x1/y2",
        'credentials: "include"',
        'password = "' + marker("assigned-secret") + '"',
    ],
}


def cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(kind, text) for kind, texts in table.items() for text in texts]


def test_every_kind_has_positive_and_negative_examples() -> None:
    kinds = default_redactor().kinds
    assert {kind for kind, texts in POSITIVE.items() if texts} == kinds
    assert {kind for kind, texts in NEGATIVE.items() if texts} == kinds


@pytest.mark.parametrize(("kind", "text"), cases(POSITIVE))
def test_secret_is_replaced_by_its_kind(kind: str, text: str) -> None:
    redacted = default_redactor().redact_text(text)
    assert dict(redacted.kinds) == {kind: 1}
    assert marker(kind) in redacted.text
    for piece in ("hunter2", ALNUM, HEX, UPPER, BODY[:20], "dXNlcjpwYXNz"):
        assert piece not in redacted.text


@pytest.mark.parametrize(("kind", "text"), cases(POSITIVE))
def test_secret_is_found_in_the_midst_of_code(kind: str, text: str) -> None:
    redacted = default_redactor().redact_text(f"# é\nx = 1\n{text}\ny = 2\n")
    assert kind in redacted.kinds
    assert redacted.text.startswith("# é\nx = 1\n")
    assert redacted.text.endswith("y = 2\n")


@pytest.mark.parametrize(("kind", "text"), cases(POSITIVE))
def test_redacting_twice_is_redacting_once(kind: str, text: str) -> None:
    once = default_redactor().redact_text(text).text
    again = default_redactor().redact_text(once)
    assert (again.text, again.kinds) == (once, {}), kind


@pytest.mark.parametrize(("kind", "text"), cases(NEGATIVE))
def test_what_only_resembles_a_secret_is_left_alone(kind: str, text: str) -> None:
    redacted = default_redactor().redact_text(text)
    assert (redacted.text, redacted.kinds) == (text, {}), kind


def test_a_rule_with_two_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="two: 2 capturing groups"):
        Redactor([Rule(name="two", pattern="(a)(b)")])
