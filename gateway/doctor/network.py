"""The way to WhatsApp: policies of Chromium, the proxy, and whether WhatsApp is reached."""

from __future__ import annotations

import asyncio
import os
import shlex
from functools import cache

from gateway import reach
from gateway.browser import policies as rules
from gateway.doctor.finding import Finding, fail, ok, split, warn
from gateway.executable import Unusable, find_chromium
from gateway.listening import settings_file
from gateway.proxy import Proxy
from gateway.settings import Settings

#: Policies by which an administrator chooses the proxy; they win over any flag.
_PROXY_POLICIES = ("ProxySettings", "ProxyMode", "ProxyServer", "ProxyPacUrl", "ProxyServerMode")


def policies(settings: Settings) -> Finding:
    """No policy of an administrator keeps Chromium from its work."""
    try:
        directory = rules.directory_of(find_chromium(settings.chromium))
    except Unusable:
        directory = rules.USUAL
    found = rules.read(directory)
    if (said := rules.fatal(found)) is not None:
        return split(said)
    if (policy := rules.blocking(found, settings.whatsapp_url)) is not None:
        said = f"the policy {policy.name} in {policy.file} forbids Chromium to load {settings.whatsapp_url}"
        return fail(said, "name it in the policy URLAllowlist, or take it out of the list")
    for name in _PROXY_POLICIES:
        if name in found:
            said = f"the policy {name} in {found[name].file} chooses the proxy: GATEWAY_PROXY is not heeded, and other hosts may be asked"
            return warn(said, "remove it, and set GATEWAY_PROXY")
    return ok(f"{len(found)} policies in {directory}, none of which is in the way" if found else f"no policies in {directory}")


def proxy(settings: Settings) -> Finding:
    """GATEWAY_PROXY, where it is set, answers and takes the name and password."""
    upstream = settings.upstream
    if upstream is None:
        return ok("no proxy is set")
    trouble = _trouble(settings.whatsapp_url, upstream)
    if trouble is not None and trouble.cause.startswith("proxy_"):
        return fail(trouble.said, trouble.todo)
    file = settings_file(os.environ)
    if upstream.password and file is not None and file.exists() and file.stat().st_mode & 0o077:
        return warn(f"other users may read {file}, and the proxy's password if it stands there", f"chmod 600 {shlex.quote(str(file))}")
    return ok(f"the proxy {upstream} answers" + ("" if upstream.user is None else ", and takes the name and password"))


def whatsapp(settings: Settings) -> Finding:
    """WhatsApp Web's server is reached, the way Chromium would."""
    way, server = reach.way(settings), reach.Server.of(settings.whatsapp_url)
    trouble = _trouble(settings.whatsapp_url, way)
    if trouble is not None:
        return fail(f"WhatsApp cannot be reached: {trouble.said}", trouble.todo)
    return ok(f"{server} is reached" + (f" through {way}" if way is not None else ""))


@cache
def _trouble(url: str, way: Proxy | None) -> reach.Trouble | None:
    """Asked once for both checks: it may take some seconds."""
    return asyncio.run(reach.find_trouble(url, way))
