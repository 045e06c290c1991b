"""The launcher: sweeps what a predecessor left, judges the profile, and becomes Chromium.

supervisord runs it as `chromium-<session>`; it execs, so that the pid that supervisord knows is
Chromium's own, and the leader of its own process group. It dies with its parent.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import structlog

from gateway import process
from gateway.beat import boot_id
from gateway.browser import forwarder, incarnation, policies, preferences, profile_check, torn
from gateway.browser.flags import arguments
from gateway.browser.hosts import allowed_domains
from gateway.browser.walls import missing_walls
from gateway.executable import Unusable, find_chromium, version
from gateway.ownership import refusal
from gateway.settings import Settings
from gateway.slot import MARK, Launch, executable_of, mark, read_launch, started_at, sweep, write_launch

#: Seconds for which a launcher that refused stays. supervisord backs off only from what ends within startsecs; a slow
#: machine needs longer than that to refuse, and would do nothing else (measured: each 1.5 s, for ever).
LINGER = 15.0
#: Bytes that a socket's path may have, less what Chromium appends to TMPDIR ("/org.chromium.Chromium.XXXXXX/SingletonSocket");
#: with a longer one it aborts: "Socket path too long".
LONGEST_TMP = 107 - 45

log = structlog.get_logger()


class Refused(Exception):
    """Chromium must not be started on this profile, or would not start here; the text is a sentence that says what to do."""


def main(settings: Settings, session: str) -> int:
    """Become the slot's Chromium. Returns only where that is refused: an exit status."""
    process.start(settings, f"chromium-{session}", beats=False)
    process.die_with_parent()
    executable = None
    try:
        executable = find_chromium(settings.chromium)
        argv, environ = prepare(settings, session, executable)
    except (Unusable, Refused) as error:
        log.error("Chromium is not started", session=session, reason=str(error), alert=True)
        with suppress(TimeoutError):
            sweep(settings.data, session, executable)  # the record that names its group is overwritten next
        _record(settings, session, executable, refused=str(error))
        _linger()
        return process.REFUSED  # the sentence lies in run/chromium-<session>.json, where the watchdog finds it
    sys.stdout.flush()
    sys.stderr.flush()
    return os.execve(executable, argv, environ)  # noqa: S606 - becoming Chromium is the purpose


def prepare(settings: Settings, session: str, executable: Path) -> tuple[list[str], dict[str, str]]:
    """All that comes before exec; returns the arguments and the environment. Raises Refused, Unusable."""
    data, slot = settings.data.resolve(), settings.slot(session).resolve()
    profile = slot / "profile"
    if refused := refusal(slot, depth=2):
        raise Refused(refused)
    profile.mkdir(mode=0o700, parents=True, exist_ok=True)
    predecessor = read_launch(data, session)
    try:
        swept = sweep(data, session, executable)
    except TimeoutError as error:
        raise Refused(f"{error}: look for a process in state D, a restart of the machine may be needed") from None
    if swept:
        log.warning("A predecessor's Chromium was swept", session=session, processes=swept)
    number = version(executable, settings.run / "chromium-version.json")
    judge_version(profile, number)
    judge_lock(profile)
    if forbidden := policies.fatal(policies.read(policies.directory_of(executable))):
        raise Refused(forbidden)
    _mend(profile)
    preferences.quieten(profile)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("GATEWAY_")}  # no key of ours in a browser's environment
    environ[MARK] = mark(data, session)
    if os.geteuid() != 0 and "--no-sandbox" not in settings.chromium_flags and (missing := missing_walls(executable, environ)):
        raise Refused(missing)
    failed = profile_check.failed_starts(slot, predecessor)
    profile_check.remove(profile / "DevToolsActivePort")
    tmp = _temporary(slot, predecessor)
    _lead_own_group()
    started = _forwarder(settings)
    port = started.port if started else None
    if failed >= profile_check.STARTS:
        _check_profile(settings, slot, executable, number, {**environ, "TMPDIR": str(tmp)}, port)
    # recorded before the incarnation's mark goes: mark_clean() sees a launcher that lives and refuses
    _record(settings, session, executable, number, tmp, forwarder=started.pid if started else 0)
    incarnation.prepare(slot)
    if os.geteuid() == 0:
        log.warning(
            "Chromium runs as root, so without its own sandbox (--no-sandbox): whoever breaks into the page is root on this machine."
            " Run the gateway as another user in production",
            session=session,
        )
    flags = arguments(settings, profile, number, port)
    return [str(executable), *flags], {**environ, "TMPDIR": str(tmp)}


def _forwarder(settings: Settings) -> forwarder.Started | None:
    """The process that forwards to GATEWAY_PROXY, in Chromium's group; None without a proxy. Raises Refused."""
    if settings.upstream is None:
        return None
    try:
        return forwarder.start(settings.upstream, allowed_domains(settings))
    except OSError as error:
        raise Refused(f"the forwarder to GATEWAY_PROXY cannot be started: {error}") from None


def _check_profile(settings: Settings, slot: Path, executable: Path, number: str, environ: dict[str, str], port: int | None) -> None:
    """Chromium did not come up several times: move its profile aside if that is proven to be why. `port`: the forwarder's."""

    def command(profile: Path) -> list[str]:
        preferences.quieten(profile)
        return [str(executable), *arguments(settings, profile, number, port)]

    _record(settings, slot.name, executable, number, refused=profile_check.TRYING)
    profile_check.replace_if_unusable(slot, command, environ)
    sweep(settings.data.resolve(), slot.name, executable)
    _mend(slot / "profile")
    preferences.quieten(slot / "profile")


def _mend(profile: Path) -> None:
    """Cut off what the last Chromium had half written. Nobody works on the profile."""
    if mended := torn.mend(profile):
        files = [str(path.relative_to(profile)) for path in mended]
        log.warning("What the last Chromium had half written was cut off: the next one but one would have deleted it all", files=files)


def _linger() -> None:
    """Wait before the next try; SIGTERM and SIGINT end it."""
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    signal.sigtimedwait(ending, LINGER)


def _record(
    settings: Settings,
    session: str,
    executable: Path | None,
    number: str = "",
    tmp: Path | None = None,
    *,
    refused: str | None = None,
    forwarder: int = 0,
) -> None:
    own = Launch(
        pid=os.getpid(),
        started=started_at(os.getpid()) or 0,
        boot=boot_id(),
        executable=str(executable or ""),
        version=number,
        tmp=str(tmp or ""),
        refused=refused,
        forwarder=forwarder,
        forwarder_started=(started_at(forwarder) or 0) if forwarder else 0,
    )
    write_launch(settings.data.resolve(), session, own)


def _lead_own_group() -> None:
    """supervisord's children lead a group already; started by hand we make one, so that a sweep finds what we forked."""
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)


def judge_version(profile: Path, ours: str) -> None:
    """Raises Refused if a newer major version wrote the profile: an older Chromium wipes its IndexedDB, and the login with it."""
    try:
        theirs = (profile / "Last Version").read_text().strip()
        newer = int(theirs.split(".")[0]) > int(ours.split(".")[0])
    except (OSError, ValueError):
        return
    if newer:
        raise Refused(
            f"the profile was last used by Chromium {theirs} and this one is {ours}: an older Chromium would wipe the login."
            f" Install Chromium {theirs.split('.')[0]} or newer, or move {profile} aside and link again"
        )


def judge_lock(profile: Path) -> None:
    """Clear the profile's SingletonLock if its owner is gone; raises Refused if a Chromium that is not ours works on the profile.

    Cleared if it names another host (a container made anew keeps the volume, not the name: Chromium would exit with 21)
    or a pid that is no Chromium with this profile. Deleted blindly it would let two Chromiums write into one profile.
    """
    owner = profile_owner(profile)
    if owner is not None:
        raise Refused(
            f"the profile {profile} is in use by a Chromium that the gateway did not start (pid {owner}):"
            " end that one, as two on one profile corrupt it"
        )
    for name in ("SingletonLock", "SingletonSocket", "SingletonCookie"):
        profile_check.remove(profile / name)


def profile_owner(profile: Path) -> int | None:
    """Pid of the Chromium on this machine that works on the profile, by its SingletonLock; None if that names nobody who lives."""
    try:
        host, _, pid = str((profile / "SingletonLock").readlink()).rpartition("-")
    except OSError:
        return None
    return int(pid) if host == socket.gethostname() and pid.isdigit() and uses_profile(int(pid), profile) else None


def uses_profile(pid: int, profile: Path) -> bool:
    """Whether a living process is a Chromium whose --user-data-dir is `profile`.

    Chromium rewrites its command line with spaces, so arguments are cut at the next " --", not at NUL alone.
    """
    executable = executable_of(pid)
    if executable is None or not re.search(r"chrom", executable.name):
        return False
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
        where = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return False
    match = re.search(r" --user-data-dir=(.*?)(?: --|\s*$| about:| https?:)", line)
    return match is not None and (where / match[1]).resolve() == profile.resolve()


def _temporary(slot: Path, predecessor: Launch | None) -> Path:
    """An empty TMPDIR for Chromium: in the slot, unless that path is too long for a socket in it.

    kill -9 leaves a directory in TMPDIR each time; so it is ours alone, and emptied here.
    """
    tmp = slot / "tmp"
    shutil.rmtree(tmp, ignore_errors=True)
    if predecessor and predecessor.tmp and Path(predecessor.tmp).name.startswith("gateway-chromium-"):
        shutil.rmtree(predecessor.tmp, ignore_errors=True)
    if len(os.fsencode(tmp)) > LONGEST_TMP:
        return Path(tempfile.mkdtemp(prefix="gateway-chromium-"))
    tmp.mkdir(mode=0o700)
    return tmp
