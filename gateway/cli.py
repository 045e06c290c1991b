"""The command `gateway`. Each command imports what it needs when it runs, so that no process carries another's modules."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
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
    """


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
    from gateway.settings import PREFIX

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

    try:
        run(settings(), click.echo)
    except (SetupFailed, SettingsError) as error:
        fail(str(error))


@main.command()
@click.option("--sandbox", "with_sandbox", is_flag=True, help="Also run the sandbox, and use it as WhatsApp.")
@click.option("--sandbox-listen", default=SANDBOX_LISTEN, show_default=True, envvar="SANDBOX_LISTEN")
def up(with_sandbox: bool, sandbox_listen: str) -> None:
    """Run all of it under supervisord in the foreground; ends with Ctrl-C.

    \b
    gateway up
    gateway up --sandbox
    """
    from gateway.provision import SetupFailed
    from gateway.up import up as run

    try:
        run(settings(), sandbox_listen if with_sandbox else None)
    except (SetupFailed, SettingsError) as error:
        fail(str(error))


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
        fail(f"{error}. Is it running? `gateway up`, or `supervisorctl -c supervisor.conf status`", 3)


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
def status() -> None:
    """Say how it goes: health, queue, processes. Exit status 0 only if healthy."""
    health = ask(lambda: client().get("/api/health"))
    queue = ask(lambda: client().get("/api/queue-status"))
    for session in health["sessions"]:
        click.echo(f"session {session['name']}: {session['state']}{', healthy' if session['healthy'] else ''}")
        for why in [*session["complaints"], *session["remarks"]]:
            click.echo(f"  {why}")
        if session.get("detail"):
            click.echo(f"  {session['detail']}")
    why = queue["head_of_line"]["reason"]
    click.echo(f"queue: {health['message_queue_length']} waiting" + (f", because {why}" if why else ""))
    for process in health["processes"]:
        click.echo(f"  {process['name']:<20} {process['state']:<8} {process['pid'] or ''}")
    sys.exit(0 if health["session_health"] else 1)


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
    directory = settings().logs
    paths = [directory / f"{name}.log" for name in names] or sorted(directory.glob("*.log"))
    missing = [path.stem for path in paths if not path.exists()]
    if missing or not paths:
        there = ", ".join(p.stem for p in sorted(directory.glob("*.log"))) or "none yet"
        fail(f"no log of {', '.join(missing) or 'any process'} in {directory}; there are: {there}")
    follow_logs(paths, lines, follow)


def follow_logs(paths: list[Path], lines: int, follow: bool) -> None:
    """Print the last lines of each file, then what is added; a rotated file is opened again."""
    places: dict[Path, tuple[int, int]] = {}
    width = max(len(path.stem) for path in paths)
    for path in paths:
        text = path.read_bytes()
        places[path] = (path.stat().st_ino, len(text))
        for line in text.decode(errors="replace").splitlines()[-lines:] if lines else []:
            click.echo(f"{path.stem:<{width}} | {line}")
    while follow:
        for path in paths:
            if not path.exists():
                continue
            inode, at = places[path]
            found = path.stat()
            if found.st_ino != inode or found.st_size < at:
                inode, at = found.st_ino, 0
            with path.open("rb") as file:
                file.seek(at)
                text = file.read(1 << 20)
            whole = text[: text.rfind(b"\n") + 1]
            for line in whole.decode(errors="replace").splitlines():
                click.echo(f"{path.stem:<{width}} | {line}")
            places[path] = (inode, at + len(whole))
        try:
            time.sleep(0.3)
        except KeyboardInterrupt:
            return
