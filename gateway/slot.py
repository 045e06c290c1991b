"""A slot's Chromium as the operating system sees it: which processes, how much memory, what its launcher recorded.

Neither mark alone finds all of them: children of the zygote have no readable environment, crash
handlers run in groups of their own (FACTS). So a process is of the slot if its executable lies in
Chromium's own directory and it is in the recorded process group or carries the launcher's mark.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from gateway.beat import RunningDeadline, boot_id, boot_time
from gateway.sealed import small_file

#: Environment of Chromium, and of nothing else: `<real path of the data directory>:<session>`.
MARK = "GATEWAY_CHROMIUM_OF"
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Launch:
    """What the launcher recorded of the Chromium that it became, or why it refused to."""

    pid: int  #: also its process group
    started: int  #: the process's start in clock ticks since boot: a pid that was given away again differs in it
    boot: str  #: id of the boot that pid and started belong to
    executable: str = ""
    version: str = ""
    tmp: str = ""  #: TMPDIR, to be cleaned by the next launcher
    forwarder: int = 0  #: pid of the process between Chromium and GATEWAY_PROXY; 0: there is none
    forwarder_started: int = 0
    refused: str | None = None  #: a sentence: why Chromium was not started; no restart helps


def launch_path(data: Path, session: str) -> Path:
    return data / "run" / f"chromium-{session}.json"


def read_launch(data: Path, session: str) -> Launch | None:
    """The last launch recorded in this boot; None if there is none or the file is torn."""
    try:
        values = json.loads(launch_path(data, session).read_bytes())
        known = {f.name for f in fields(Launch)}
        launch = Launch(**{k: v for k, v in values.items() if k in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return launch if launch.boot == boot_id() else None


def write_launch(data: Path, session: str, launch: Launch) -> None:
    path = launch_path(data, session)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(launch)))
    fresh.rename(path)


def mark(data: Path, session: str) -> str:
    """The value of GATEWAY_CHROMIUM_OF for a slot."""
    return f"{data.resolve()}:{session}"


def started_at(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None if there is no such process, or only its zombie."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in ("Z", "X") else int(stat[19])


def stopped(pid: int) -> bool:
    """Whether a process stands still by a signal (SIGSTOP, a debugger)."""
    stat = _stat(pid)
    return stat is not None and stat[0] in ("T", "t")


def _stat(pid: int) -> list[str] | None:
    """/proc/PID/stat from its third field, the state, on."""
    try:
        return small_file(f"/proc/{pid}/stat").decode(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return None


def executable_of(pid: int) -> Path | None:
    """A process's executable, also after it was replaced on disk; None for a zombie, a kernel thread, another user's process."""
    try:
        return Path(str(Path(f"/proc/{pid}/exe").readlink()).removesuffix(" (deleted)"))
    except OSError:
        return None


def alive(launch: Launch) -> bool:
    """Whether the recorded process, launcher or Chromium, still runs."""
    return started_at(launch.pid) == launch.started


def forwarder_fails(launch: Launch) -> bool:
    """Whether the process between Chromium and GATEWAY_PROXY has ended, or stands still by a signal."""
    if not launch.forwarder:
        return False
    return started_at(launch.forwarder) != launch.forwarder_started or stopped(launch.forwarder)


def chromium_processes(data: Path, session: str, executable: Path | None = None) -> list[int]:
    """Pids of all living processes of the slot's Chromium, in no order.

    `executable` is today's; the recorded one's directory counts too, as an upgrade may lie between.
    """
    launch = read_launch(data, session)
    homes = {Path(e).parent for e in (executable, launch.executable if launch else None) if e}
    ours = f"{MARK}={mark(data, session)}".encode()
    groups = {launch.pid} if launch else set()
    marked: set[int] = set()
    group_of: dict[int, int] = {}
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        home = executable_of(pid)
        if home is None or not any(home.is_relative_to(h) for h in homes):
            continue
        with suppress(OSError):
            group_of[pid] = os.getpgid(pid)
            if ours in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                marked.add(pid)
    # a marked process's group is the slot's too: it finds the zygote's children where the record is missing
    groups |= {group_of[pid] for pid in marked}
    return [pid for pid, group in group_of.items() if pid in marked or group in groups]


def sweep(data: Path, session: str, executable: Path | None = None, deadline: float = 10.0) -> int:
    """Kill every process of the slot's Chromium and wait for their end; returns how many there were.

    Looks again until a look finds none, as a dying zygote may still have forked. Raises TimeoutError
    with a sentence if some are still there after `deadline` seconds (a process stuck in the kernel).
    """
    patience = RunningDeadline(deadline)
    killed: set[int] = set()
    while pids := chromium_processes(data, session, executable):
        if patience.passed():
            raise TimeoutError(f"Chromium's processes {pids} of session {session} do not end after SIGKILL")
        killed.update(pids)
        for fd in _kill(pids):
            # a process that vanished between look and kill has no fd
            while not select.select([fd], [], [], 0.5)[0] and not patience.passed():
                pass
            os.close(fd)
    return len(killed)


def _kill(pids: list[int]) -> list[int]:
    """SIGKILL to each; returns pidfds that become readable at their end."""
    fds = []
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue
        # the pid may have been given away between the look and pidfd_open only if 32,768 forks happened meanwhile
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        fds.append(fd)
    return fds


def memory(data: Path, session: str) -> int:
    """Bytes (PSS: shared pages are counted once) of the slot's Chromium. Costs some ms a process: ask each minute."""
    return proportional(chromium_processes(data, session))


def proportional(pids: list[int]) -> int:
    """Sum of the processes' PSS in bytes; those that ended or may not be read count nothing."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def private(pids: list[int]) -> int:
    """Sum of the processes' own resident pages in bytes, from statm: less than PSS, and cheap enough for each second."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            _, resident, shared = small_file(f"/proc/{pid}/statm").split()[:3]
            total += (int(resident) - int(shared)) * _PAGE
    return total


def end_of_chromium(data: Path, session: str, deadline: float) -> bool:
    """Wait for the end of a Chromium that was told to end, then kill what it leaves. False if it still runs after `deadline` seconds.

    Only where no launcher can start meanwhile. Raises TimeoutError if something does not end after SIGKILL.
    """
    until = boot_time() + deadline
    launch = read_launch(data, session)
    while launch is not None and alive(launch):
        if boot_time() > until:
            return False
        time.sleep(0.02)
    sweep(data, session, deadline=max(0.1, until - boot_time()))
    return True
