"""`gateway logs`: the last lines of the programs' logs, and those that come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import click

from gateway.monitor.hints import about, logs_missing
from gateway.ownership import refusal
from gateway.process import DEPTH
from gateway.settings import Settings


class NoLog(Exception):
    """There is no log to show; the text says what to do."""


def show(settings: Settings, names: Sequence[str], lines: int, follow: bool) -> None:
    """Print the logs of these programs, or of all, and with `follow` go on until Ctrl-C. Raises NoLog.

    Of a program that has written nothing supervisord's log tells why.
    """
    directory = settings.logs
    paths = [path for path in (directory / f"{name}.log" for name in names) if path.exists()] if names else sorted(directory.glob("*.log"))
    silent = [name for name in names if not (path := directory / f"{name}.log").exists() or not path.stat().st_size]
    if silent and (why := about(silent, directory / "supervisord.log", lines)):
        click.echo(f"gateway: {', '.join(silent)} has written nothing; supervisord says:", err=True)
        click.echo("\n".join(f"supervisord | {line}" for line in why))
    elif not paths or len(paths) < len(names):
        raise NoLog(logs_missing(settings, silent))
    try:
        if paths:
            follow_logs(paths, lines, follow)
    except PermissionError as error:
        raise NoLog(refusal(settings.data, DEPTH) or str(error)) from None


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
