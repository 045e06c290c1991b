"""What happens at once on the server's side: faults that are over as soon as they began, and what the phone does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .accounts import Account, Device
from .world import World


def cut(world: World) -> None:
    """Every line ends."""
    for line in list(world.lines):
        line.cut()


def conflict(world: World) -> None:
    """Another window of each device takes over, and is gone again when the page takes it back."""
    for line in list(world.lines):
        line.taken_over()


def logged_out(world: World) -> None:
    """Every phone removes its devices."""
    unlink(world.accounts.all.values())


def unlink(accounts: Iterable[Account]) -> list[Device]:
    """Remove all devices of these accounts; gives those removed."""
    removed: list[Device] = []
    for account in accounts:
        removed += account.devices.values()
        account.devices.clear()
    for device in removed:
        if device.line is not None:
            device.line.forget()
    return removed


#: Faults of the server that happen once, by kind.
AT_ONCE: dict[str, Callable[[World], None]] = {"cut_socket": cut, "conflict": conflict, "logged_out": logged_out}
#: What the beginning of a fault that stays on does besides.
AT_FIRST: dict[str, Callable[[World], None]] = {"away": cut}
