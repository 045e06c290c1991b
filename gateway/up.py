"""`gateway up`: all of it under supervisord in the foreground, from a copy of supervisor.conf for this data directory."""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

from gateway import supervisor_conf
from gateway.executable import Unusable, find_chromium
from gateway.filesystem import unfit
from gateway.ownership import by_sudo, refusal
from gateway.process import PRIVATE, forbid_core_dumps, when_there_is_room
from gateway.provision import SetupFailed, packaged, wa_js_path
from gateway.settings import Settings
from gateway.supervisor_conf import NotHeld

#: A unix socket's path may have 107 bytes; supervisord makes `supervisor.sock.PID` beside it first.
_LONGEST_SOCKET = 107 - 8

_SANDBOX = """
[program:sandbox]
command = "%(here)s/.venv/bin/gateway" sandbox --listen {listen}
priority = 5
autorestart = true
startsecs = 1
startretries = 1000000000
stopwaitsecs = 2
stdout_logfile = %%(here)-s/data/logs/sandbox.log
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 1
redirect_stderr = true
"""


def write_conf(settings: Settings, *, sandbox: str | None = None, environ: Mapping[str, str] = os.environ) -> Path:
    """Write `supervisor.conf` into the data directory and return its path.

    `sandbox` is an address HOST:PORT on which the sandbox is to run; the gateway then points to it.
    The settings in `environ` are written down too (but for keys), so that supervisorctl starts what `gateway up` would.
    Raises SetupFailed.
    """
    settings.make_directories()
    if len(os.fsencode(settings.supervisor_socket)) > _LONGEST_SOCKET:
        raise SetupFailed(f"the path {settings.data} is too long for a unix socket: set GATEWAY_DATA to a shorter one")
    given = {k: v for k, v in environ.items() if k.startswith("GATEWAY_") and not k.endswith("_KEY")}
    given["GATEWAY_DATA"] = str(settings.data)
    if sandbox:
        given["GATEWAY_WHATSAPP_URL"] = f"http://{sandbox}/"
    try:
        text = _text(str(settings.data), given, sandbox)
    except NotHeld as error:
        raise SetupFailed(f"supervisord cannot be given {error}") from None
    path = settings.data / "supervisor.conf"
    when_there_is_room(lambda: path.touch(mode=0o600))
    path.chmod(0o600)  # before a proxy's password is in it
    when_there_is_room(lambda: path.write_text(text))
    return path


def _text(data: str, environ: Mapping[str, str], sandbox: str | None) -> str:
    """supervisor.conf for that data directory and these variables. Raises NotHeld, SetupFailed."""
    values, program = supervisor_conf.environment(environ), supervisor_conf.command([sys.executable, "-m", "gateway"])
    text = packaged("supervisor.conf").read_text()
    if sandbox:
        text += _SANDBOX.format(listen=supervisor_conf.command([sandbox]))
    instead = {
        'GATEWAY_DATA="%%(here)-s/data"': values,
        '"%(here)s/.venv/bin/gateway"': program,
        "%%(here)-s/data": supervisor_conf.plain(data, expansions=2),
        "%(here)s/data": supervisor_conf.plain(data),
    }
    return re.sub("|".join(map(re.escape, instead)), lambda found: instead[found[0]], text)


def command(conf: Path) -> list[str]:
    """How supervisord is run in the foreground with that file."""
    return [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)]


class AlreadyRuns(Exception):
    """A supervisord answers for this data directory; the text says how to see it and how to end it."""


def check(settings: Settings) -> None:
    """Say early what would else fail late. Raises SetupFailed, SettingsError, AlreadyRuns."""
    settings.key  # noqa: B018 - the file that holds it is read now
    try:
        find_chromium(settings.chromium)
    except Unusable as error:
        raise SetupFailed(f"{error}; `gateway setup` does it where it can") from None
    wa_js_path(settings)
    if refused := by_sudo(settings.data) or refusal(settings.data):
        raise SetupFailed(refused)
    if not settings.data.exists() and (refused := unfit(settings.data.resolve())):
        raise SetupFailed(refused)  # before anything is made there
    settings.make_directories()
    if refused := unfit(settings.data.resolve(), settings.tried):
        raise SetupFailed(refused)
    with socket.socket(socket.AF_UNIX) as supervisord, suppress(OSError):
        supervisord.connect(str(settings.supervisor_socket))
        from gateway.supervision import supervisorctl  # XML-RPC's imports are not for each start

        see, end = (supervisorctl(settings, word) for word in ("status", "shutdown"))
        raise AlreadyRuns(f"the gateway runs already with {settings.data}: `{see}` shows it, `{end}` ends it")


def provide_temporary(settings: Settings, environ: MutableMapping[str, str] = os.environ) -> None:
    """Point TMPDIR into the data directory where no directory for temporary files can be written: supervisord and Chromium need one."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        own = settings.data / "tmp"
        own.mkdir(mode=0o700, exist_ok=True)
        environ["TMPDIR"] = str(own)


def up(settings: Settings, sandbox: str | None) -> None:
    """Become supervisord. Raises SetupFailed, SettingsError, AlreadyRuns."""
    check(settings)
    conf = write_conf(settings, sandbox=sandbox)
    provide_temporary(settings)
    print(f"supervisorctl -c {shlex.quote(str(conf))} status", flush=True)
    argv = command(conf)
    if not settings.core_dumps:
        forbid_core_dumps()
    os.umask(PRIVATE)  # in the foreground supervisord heeds no umask of its file
    os.execv(argv[0], argv)  # noqa: S606 - becoming supervisord is the purpose
