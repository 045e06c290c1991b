"""What to do while the API does not answer: one sentence with the command, from what lies on this machine and what supervisord says."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from pathlib import Path

import psutil

from gateway.ownership import refusal
from gateway.process import DEPTH
from gateway.settings import Settings
from gateway.supervision import Fault, Program, ProgramState, Supervisor, Unreachable, supervisorctl


def hint(settings: Settings) -> str:
    """The sentence, to be put behind the one that says that nobody answers; empty where the API will come by itself."""
    try:
        programs: Mapping[str, Program] | None = asyncio.run(Supervisor(settings.supervisor_socket).programs())
    except (Unreachable, Fault):
        programs = None
    return hint_by(settings, programs)


def hint_by(settings: Settings, programs: Mapping[str, Program] | None) -> str:
    """The same, by what supervisord says of its programs; None if it does not answer."""
    data = settings.data
    if not data.exists():
        return f"; there is no data directory {data}: set GATEWAY_DATA as the gateway has it, or start one with `gateway up`"
    if refused := refusal(data, DEPTH):
        return f"; {refused}"
    if programs is None:
        beside = data.parent / "supervisor.conf"
        other = f", or `supervisord -c {shlex.quote(str(beside))}`" if data.name == "data" and beside.exists() else ""
        return f"; supervisord does not answer either. Start it: `gateway up`{other}"
    api = programs.get("api")
    return "" if api is None else hint_by_program(settings, api, listens_at(api.pid))


def hint_by_program(settings: Settings, api: Program, addresses: list[str]) -> str:
    """The same, by what supervisord says of the API. `addresses`: where it listens, as GATEWAY_LISTEN takes them."""
    if api.state is ProgramState.STOPPED:
        return f"; somebody stopped it: `{supervisorctl(settings, 'start', 'api')}`"
    if api.state in (ProgramState.BACKOFF, ProgramState.FATAL):
        if api.problem:
            return f"; supervisord cannot start it: {api.problem}"
        return "; it ends as soon as it has begun: `gateway logs api` says why"
    if addresses and not set(addresses) & {item.strip() for item in settings.listen.split(",")}:
        return f"; it listens at {', '.join(addresses)}: set GATEWAY_LISTEN to that"
    return ""


def listens_at(pid: int | None) -> list[str]:
    """Addresses at which a process of this user's listens, as GATEWAY_LISTEN takes them."""
    try:
        found = psutil.Process(pid).net_connections("tcp") if pid else []
    except psutil.Error:
        return []
    listening = [c.laddr for c in found if c.status == psutil.CONN_LISTEN and c.laddr]
    return sorted(f"[{a.ip}]:{a.port}" if ":" in a.ip else f"{a.ip}:{a.port}" for a in listening)


def logs_missing(settings: Settings, names: list[str]) -> str:
    """A sentence where there is no log to show: of these programs, or of any."""
    there = ", ".join(path.stem for path in sorted(settings.logs.glob("*.log")))
    if not there:
        why = refusal(settings.data, DEPTH) or "start it with `gateway up`, or set GATEWAY_DATA as the gateway has it"
        return f"nothing has run yet with the data directory {settings.data}: {why}"
    return f"no program {' or '.join(names)} has written a log in {settings.logs}; there are: {there}"


def about(names: list[str], supervisord_log: Path, lines: int) -> list[str]:
    """The last lines of supervisord's log that name one of these programs: why one of them never began to write."""
    try:
        said = supervisord_log.read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [line for line in said if any(name in line for name in names) or "spawnerr" in line][-lines:]
