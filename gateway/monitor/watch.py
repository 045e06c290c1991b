"""`gateway monitor`: looks each second and shows what it sees, until Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from typing import NoReturn

from rich.console import Console
from rich.live import Live

from gateway.monitor import plain
from gateway.monitor.look import Looker
from gateway.monitor.view import view
from gateway.monitor.words import clock
from gateway.settings import Settings

#: Seconds between two looks: the beats come each second.
INTERVAL = 1.0
#: A span of time in a line: that it grows is no change.
_SPAN = re.compile(r"\b[\d.]+ (s|min|h|d)\b")


def once(settings: Settings, as_json: bool = False, lines: bool = False) -> int:
    """Look once, print, and return the exit status: 0 healthy, 1 not healthy, 2 the gateway cannot be asked."""
    s = Looker(settings).look()
    console = Console(highlight=False)
    if as_json:
        print(json.dumps(s.as_dict(), indent=2))
    elif lines or not paints(console):
        print("\n".join(plain.lines(s)))
    else:
        console.print(view(s, console.width))
    return s.exit_status


def watch(settings: Settings, as_json: bool = False) -> int:
    """Look each second until Ctrl-C, SIGTERM or SIGHUP; returns 0. On a terminal a picture, else a line whenever something changed."""
    looker, console = Looker(settings), Console(highlight=False)
    # all three end as Ctrl-C does, through the blocks that give the terminal back as it was
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        if as_json or not paints(console):
            _print(looker, as_json)
        else:
            _paint(looker, console)
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # whoever read has enough; Python would complain once more while it flushes at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def paints(console: Console) -> bool:
    """Whether a picture can be painted there, again and again."""
    return console.is_terminal and not console.is_dumb_terminal


def _paint(looker: Looker, console: Console) -> NoReturn:
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(view(looker.look(), console.width, console.height), refresh=True)
            time.sleep(INTERVAL)


def _print(looker: Looker, as_json: bool) -> NoReturn:
    before = ""
    while True:
        s = looker.look()
        if as_json:
            print(json.dumps(s.as_dict()), flush=True)
        elif (said := _SPAN.sub("", now := plain.line(s))) != before:
            before = said
            print(f"{clock(s.at)} {now}", flush=True)
        time.sleep(INTERVAL)
