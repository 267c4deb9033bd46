"""Keys that their issuers gave a recognisable form.

Sources: the issuers' documentation of their token formats, and those published for GitHub's
secret scanning partners. Where an issuer leaves the length open, the rule asks for the shortest
seen.
"""

from __future__ import annotations

from pattern_tracker.redact.rule import Rule


def _is_jwt(value: str) -> bool:
    """Three parts (signed), or five (encrypted; the second may be empty)."""
    parts = value.rstrip(".").split(".")
    if len(parts) == 5:
        return all(len(part) >= 8 for part in parts[2:])
    return (
        len(parts) >= 3 and parts[1].startswith("eyJ") and len(parts[1]) >= 8 and len(parts[2]) >= 8
    )


PROVIDER_RULES: tuple[Rule, ...] = (
    Rule(name="aws-access-key", pattern=r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    Rule(
        name="github-token", pattern=r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{36,}"
    ),
    Rule(
        name="gitlab-token",
        pattern=r"\bgl(?:pat|oas|dt|rt|cbt|ptt|ft|soat|agent|imt)-[A-Za-z0-9_.-]{20,}",
    ),
    Rule(
        name="slack-token",
        pattern=r"\bxox[abeoprs]-(?:[0-9]-)?[A-Za-z0-9-]{10,}|\bxapp-[0-9]-[A-Za-z0-9-]{10,}",
    ),
    Rule(
        name="slack-webhook",
        pattern=r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]{20,})",
    ),
    Rule(
        name="discord-webhook",
        pattern=r"discord(?:app)?\.com/api/webhooks/[0-9]{15,20}/([A-Za-z0-9_-]{40,})",
    ),
    Rule(
        name="stripe-key",
        pattern=r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}|\bwhsec_[A-Za-z0-9+/=]{24,}",
    ),
    Rule(name="anthropic-key", pattern=r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    Rule(name="openrouter-key", pattern=r"\bsk-or-(?:v[0-9]-)?[A-Za-z0-9]{32,}"),
    Rule(
        name="openai-key",
        pattern=r"\bsk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}|\bsk-[A-Za-z0-9]{32,}\b",
    ),
    Rule(name="google-api-key", pattern=r"\bAIza[A-Za-z0-9_-]{35}"),
    Rule(name="google-oauth-secret", pattern=r"\bGOCSPX-[A-Za-z0-9_-]{28}"),
    Rule(name="google-oauth-token", pattern=r"\bya29\.[A-Za-z0-9_-]{20,}"),
    Rule(name="npm-token", pattern=r"\bnpm_[A-Za-z0-9]{36}"),
    Rule(name="pypi-token", pattern=r"\bpypi-[A-Za-z0-9_-]{50,}"),
    Rule(name="sendgrid-key", pattern=r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}"),
    Rule(name="mailgun-key", pattern=r"\bkey-[0-9a-f]{32}\b"),
    Rule(name="twilio-key", pattern=r"\bSK[0-9a-f]{32}\b"),
    Rule(name="huggingface-token", pattern=r"\bhf_[A-Za-z0-9]{34,}"),
    Rule(name="digitalocean-token", pattern=r"\bdo[opr]_v1_[0-9a-f]{64}"),
    Rule(name="shopify-token", pattern=r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    Rule(name="square-token", pattern=r"\bsq0(?:atp|csp)-[A-Za-z0-9_-]{22,}"),
    Rule(name="databricks-token", pattern=r"\bdapi[0-9a-f]{32}\b"),
    Rule(name="linear-key", pattern=r"\blin_(?:api|oauth)_[A-Za-z0-9]{32,}"),
    Rule(name="notion-token", pattern=r"\bntn_[A-Za-z0-9]{40,}|\bsecret_[A-Za-z0-9]{43}\b"),
    Rule(name="postman-key", pattern=r"\bPMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    Rule(
        name="grafana-token",
        pattern=r"\bglsa_[A-Za-z0-9]{32}_[0-9a-f]{8}|\bglc_[A-Za-z0-9+/=]{32,}",
    ),
    Rule(
        name="hashicorp-token",
        pattern=r"\bhv[sbr]\.[A-Za-z0-9_-]{24,}|\b[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}",
    ),
    Rule(name="atlassian-token", pattern=r"\bATATT3[A-Za-z0-9_=-]{50,}"),
    Rule(name="doppler-token", pattern=r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}"),
    Rule(name="docker-token", pattern=r"\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}"),
    Rule(name="newrelic-key", pattern=r"\bNRAK-[A-Z0-9]{27}"),
    Rule(name="sentry-token", pattern=r"\bsntrys_[A-Za-z0-9+/=_-]{40,}|\bsntryu_[0-9a-f]{64}"),
    Rule(name="replicate-token", pattern=r"\br8_[A-Za-z0-9]{37,}"),
    Rule(name="groq-key", pattern=r"\bgsk_[A-Za-z0-9]{40,}"),
    Rule(name="xai-key", pattern=r"\bxai-[A-Za-z0-9]{60,}"),
    Rule(name="telegram-bot-token", pattern=r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}"),
    Rule(
        name="azure-storage-key",
        pattern=r"(?i:\b(?:Account|SharedAccess)Key=)([A-Za-z0-9+/]{40,}={0,2})",
    ),
    Rule(name="azure-sas", pattern=r"[?&;]sig=([A-Za-z0-9%+/]{40,}={0,2})"),
    Rule(name="azure-client-secret", pattern=r"\b[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}"),
    Rule(name="age-secret-key", pattern=r"\bAGE-SECRET-KEY-1[0-9A-Z]{58}"),
    Rule(
        name="jwt",
        # The dots are counted afterwards: a pattern that asked for them would read a long run
        # again and again in search of one.
        pattern=r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}",
        accepts=_is_jwt,
    ),
)
