"""The command `gateway`. Each command imports what it needs when it runs, so that no process carries another's modules."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from gateway import __version__
from gateway.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from gateway.client import Client

SANDBOX_LISTEN = "127.0.0.1:8090"


def fail(text: str, status: int = 1) -> NoReturn:
    click.echo(f"gateway: {text}", err=True)
    sys.exit(status)


@contextmanager
def said(*refusals: type[Exception], status: int = 1) -> Iterator[None]:
    """Ends with the sentence of such a refusal, and that exit status."""
    try:
        yield
    except refusals as error:
        fail(str(error), status)


def settings() -> Settings:
    try:
        return load()
    except SettingsError as error:
        fail(str(error), 2)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """A self-hosted WhatsApp HTTP gateway that heals itself and loses nothing.

    \b
    gateway demo                 see it work, on the sandbox, without a phone
    gateway setup                bring Chromium and wa-js
    gateway up                   run all of it in the foreground
    gateway qr                   link a phone
    gateway send 491701234567 "Hello"
    gateway monitor              watch how it goes; also ./monitor.sh watch in a checkout
    gateway doctor               what is wrong here, and what to do
    """


def run() -> None:
    """The command line. What a terminal cannot show is replaced; what this user may not touch is said, with the command that mends it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        main(prog_name="gateway")
    except PermissionError as error:
        from gateway.ownership import refusal
        from gateway.process import SUPERVISED

        if SUPERVISED in os.environ:
            raise
        fail(refusal(settings().data) or f"this user may not use {error.filename}: run it as the user who runs the gateway")


# -- the processes, as supervisord runs them
@main.command()
def api() -> None:
    """Run the HTTP API (a program of supervisor.conf)."""
    from gateway import process

    loaded = settings()
    process.start(loaded, "api")
    # imported late: a slow machine takes seconds for it, and nobody shall take them for silence
    from gateway.api.app import main as run

    sys.exit(run(loaded))


@main.command()
@click.option("--session", default="default", show_default=True)
def browser(session: str) -> None:
    """Run the browser host of a session (a program of supervisor.conf)."""
    from gateway.browser.host import main as run

    sys.exit(run(settings(), session))


@main.command()
@click.option("--session", default="default", show_default=True)
def chromium(session: str) -> None:
    """Become the Chromium of a session (a program of supervisor.conf)."""
    from gateway.browser.chromium import main as run

    sys.exit(run(settings(), session))


@main.command()
def watchdog() -> None:
    """Run the watchdog (a program of supervisor.conf)."""
    from gateway.watchdog.watchdog import main as run

    sys.exit(run(settings()))


@main.command()
@click.option("--listen", default=SANDBOX_LISTEN, show_default=True, envvar="SANDBOX_LISTEN")
def sandbox(listen: str) -> None:
    """Run a WhatsApp to try things out on, with a phone at /phone.

    \b
    gateway sandbox --listen 127.0.0.1:8090
    """
    from gateway.sandbox.server import main as run

    sys.exit(run(listen))


# -- what people type
@main.command("settings")
def show_settings() -> None:
    """List every setting with its default: a table in Markdown."""
    click.echo(settings_table())


def settings_table() -> str:
    """The settings as docs/settings.md shows them."""
    from gateway.listening import PREFIX

    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`" if str(field.default) else ""
        lines.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(lines)


@main.command()
def setup() -> None:
    """Bring what is not a Python package: Chromium and wa-js. Does nothing twice."""
    from gateway.provision import SetupFailed
    from gateway.provision import setup as run

    with said(SetupFailed, SettingsError):
        run(settings(), click.echo)


@main.command()
@click.option("--sandbox", "with_sandbox", is_flag=True, help="Also run the sandbox, and use it as WhatsApp.")
@click.option("--sandbox-listen", default=SANDBOX_LISTEN, show_default=True, envvar="SANDBOX_LISTEN")
def up(with_sandbox: bool, sandbox_listen: str) -> None:
    """Run all of it under supervisord in the foreground; ends with Ctrl-C.

    \b
    gateway up
    gateway up --sandbox
    """
    from gateway.process import REFUSED
    from gateway.provision import SetupFailed
    from gateway.up import AlreadyRuns
    from gateway.up import up as run

    # another status than REFUSED: systemd is to try again, as the other one may end
    with said(SetupFailed, SettingsError, status=REFUSED), said(AlreadyRuns):
        run(load(), sandbox_listen if with_sandbox else None)


@main.command()
@click.option("--messages", default=30, show_default=True, type=click.IntRange(1, 1000))
@click.option("--interval", default=0.3, show_default=True, type=click.FloatRange(0, 10), help="Seconds between two messages.")
@click.option("--keep", is_flag=True, help="Stay up afterwards for looking around, until Ctrl-C.")
def demo(messages: int, interval: float, keep: bool) -> None:
    """Send messages on the sandbox while Chromium is killed, and count what arrives.

    \b
    gateway demo
    gateway demo --keep
    """
    from gateway.demo import run

    sys.exit(run(messages=messages, interval=interval, keep=keep))


def client() -> Client:
    from gateway.client import Client

    return Client.of(settings())


def ask(call: Callable[[], Any]) -> Any:
    """An API call whose failures are sentences."""
    from gateway.client import Refused, Unreachable

    try:
        return call()
    except Refused as error:
        fail(str(error))
    except Unreachable as error:
        from gateway.monitor.hints import hint

        fail(f"{error}{hint(settings())}", 3)


@main.command()
@click.argument("to")
@click.argument("text")
@click.option("--session", default="default", show_default=True)
@click.option("--wait", default=0, show_default=True, type=click.IntRange(0, 60), help="Seconds to wait until it is sent.")
@click.option("--key", help="Idempotency key: the same key never sends twice.")
def send(to: str, text: str, session: str, wait: int, key: str | None) -> None:
    """Send a text message.

    \b
    gateway send 491701234567 "Your parcel is here"
    gateway send 120363000000000001@g.us "Hello, all" --wait 10
    """
    headers = {"Idempotency-Key": key} if key else {}
    if wait:
        headers["Prefer"] = f"wait={wait}"
    body = {"to": to, "text": text, "session": session}
    answer = ask(lambda: client().post("/api/messages", body, headers, timeout=wait + 20))
    click.echo(f"{answer['id']}  {answer['status']}")


@main.command()
@click.option("--once", is_flag=True, help="Look once and end. Exit status: 0 healthy, 1 not healthy, 2 the gateway cannot be asked.")
@click.option("--json", "as_json", is_flag=True, help="JSON: one document, or with no --once one a line each second.")
def monitor(once: bool, as_json: bool) -> None:
    """Watch how it goes: health, queue, recoveries, processes, events; ends with Ctrl-C.

    \b
    gateway monitor
    gateway monitor --once --json
    """
    from gateway.monitor import watch

    sys.exit(watch.once(settings(), as_json) if once else watch.watch(settings(), as_json))


@main.command()
def status() -> None:
    """Say how it goes, in lines; exit status as `gateway monitor --once`."""
    from gateway.monitor import watch

    sys.exit(watch.once(settings(), lines=True))


@main.command()
def ready() -> None:
    """Say whether messages are accepted: for a container's health check. Exit status 0 if they are, else 1.

    \b
    gateway ready
    """
    from gateway.ready import main as run

    sys.exit(run())


@main.command()
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--rebuild-lanes", is_flag=True, help="Make all lanes anew first: the one thing here that changes something.")
def doctor(as_json: bool, rebuild_lanes: bool) -> None:
    """Look for what could keep the gateway from working, and say what to do. Exit status 1 if something fails.

    \b
    gateway doctor
    gateway doctor --json
    """
    from gateway.doctor import report

    if rebuild_lanes:
        from gateway.doctor.mend import NotMended, rebuild

        with said(NotMended):
            click.echo(f"lanes made anew: {rebuild(settings())}", err=as_json)
    found = report.examine()
    click.echo(report.as_json(found) if as_json else report.as_text(found))
    sys.exit(report.exit_status(found))


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def backup(file: Path) -> None:
    """Write a copy of the database, also while the gateway runs.

    \b
    gateway backup backup.db
    """
    from gateway.store import backup

    with said(backup.Refused):
        size = backup.backup(settings(), file)
    click.echo(f"{file}: {size / 1e6:,.1f} MB")


@main.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def restore(file: Path) -> None:
    """Put a backup of the database back, while the gateway is stopped. What is open in it will be held.

    \b
    gateway restore backup.db
    """
    from gateway.store import backup

    with said(backup.Refused):
        done = backup.restore(settings(), file)
    click.echo(f"put back; messages that are open in it, and will be held when the gateway starts: {done.open}")
    if done.aside is not None:
        click.echo(f"the database that was here is kept as {done.aside}")


@main.command()
def queue() -> None:
    """Say what waits, and why."""
    from gateway.monitor.plain import queue_lines

    click.echo("\n".join(queue_lines(ask(lambda: client().get("/api/queue-status")), time.time())))


@main.command()
@click.option("--session", default=None, help="Only this session's.")
@click.option("--dry-run", is_flag=True, help="Only say how many it would be.")
def clear(session: str | None, dry_run: bool) -> None:
    """Cancel what waits; never touches what may have been sent."""
    done = ask(lambda: client().post("/api/clear-queue", {"dry_run": dry_run} | ({"session": session} if session else {}), timeout=600))
    click.echo(f"{'would cancel' if dry_run else 'cancelled'}: {done['cancelled']} (they stay readable, and can be requeued)")
    if done["outcome_unknown"]:
        click.echo(f"left alone: {done['outcome_unknown']} (they may have been sent)")


@main.command()
@click.option("--session", default="default", show_default=True)
@click.option("--strategy", default=None, help="A rung to begin with, for instance reload_page; else the ladder decides.")
def recover(session: str, strategy: str | None) -> None:
    """Recover a session, and wait until it is done. Exit status 0 if it succeeded."""
    from gateway.monitor.words import rungs, took

    body = {"session": session} | ({"strategy": strategy} if strategy else {})
    asked = ask(lambda: client().post("/api/recover-session", body))
    click.echo(f"recovery {asked['id']}: {asked['status']}")
    path = f"/api/recoveries/{asked['id']}"
    while asked["status"] == "running":
        time.sleep(0.2)
        asked = ask(lambda: client().get(path))
    why = f": {asked['detail']}" if asked["detail"] else ""
    click.echo(f"recovery {asked['id']}: {asked['status']} after {took(asked, time.time())}, {rungs(asked) or 'nothing was needed'}{why}")
    sys.exit(0 if asked["status"] == "succeeded" else 1)


@main.command()
@click.option("--session", default="default", show_default=True)
def qr(session: str) -> None:
    """Show the QR code in the terminal: WhatsApp on the phone → Linked devices → Link a device."""
    click.echo(ask(lambda: client().get(f"/api/sessions/{session}/qr?format=text", raw=True)))


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("-n", "--lines", default=20, show_default=True, type=click.IntRange(0, 10_000), help="Lines of each log to begin with.")
@click.argument("names", nargs=-1)
def logs(follow: bool, lines: int, names: tuple[str, ...]) -> None:
    """Show the logs of all processes, or of those named.

    \b
    gateway logs -f
    gateway logs browser-default -n 100
    """
    from gateway.monitor.logs import NoLog, show

    with said(NoLog):
        show(settings(), names, lines, follow)
