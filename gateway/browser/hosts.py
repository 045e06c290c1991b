"""The hosts that Chromium may ask, and no others. Source of each: docs/chromium-hosts.md. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gateway.settings import Settings

#: Domains of WhatsApp Web, with all hosts below each of them.
WHATSAPP = ("whatsapp.com", "whatsapp.net", "fbcdn.net")
#: GATEWAY_CHROMIUM_HOSTS with this value allows every host.
ANY = "*"


def allowed_domains(settings: Settings) -> tuple[str, ...]:
    """Domains in lower case: WhatsApp's where GATEWAY_WHATSAPP_URL is WhatsApp's, else that URL's host alone; and the operator's own.

    `*` stands for every host.
    """
    host = (urlsplit(settings.whatsapp_url).hostname or "").lower()
    base = WHATSAPP if is_below(host, WHATSAPP) else (host,)
    own = [one.removeprefix("*.").lower() for one in re.split(r"[\s,]+", settings.chromium_hosts) if one]
    return tuple(dict.fromkeys([*base, *own]))


def is_below(host: str, domains: tuple[str, ...]) -> bool:
    """Whether `host` is one of the domains or a host below one of them."""
    host = host.rstrip(".").lower()
    return any(domain == ANY or host == domain or host.endswith(f".{domain}") for domain in domains)


def resolver_rules(domains: tuple[str, ...]) -> str | None:
    """Value of --host-resolver-rules under which every other name fails without a DNS query; None if every host is allowed."""
    if ANY in domains:
        return None
    excluded = [rule for domain in domains for rule in (f"EXCLUDE {_literal(domain)}", *_below(domain))]
    return ", ".join(["MAP * ~NOTFOUND", *excluded, "EXCLUDE 127.0.0.1", "EXCLUDE localhost"])


def _literal(domain: str) -> str:
    return f"[{domain}]" if ":" in domain else domain


def _below(domain: str) -> tuple[str, ...]:
    """The rule for the hosts below a domain; an address has none."""
    return () if ":" in domain or domain.replace(".", "").isdigit() else (f"EXCLUDE *.{domain}",)
