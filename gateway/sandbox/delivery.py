"""What happens to a message on WhatsApp's side: recorded, acked, delivered, read; and messages that come in."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from .accounts import Account, Device
from .fields import Unknown
from .truth import Row
from .world import World

if TYPE_CHECKING:
    from .line import Line

#: Fields of a stanza that only some types have; kept with the row for who wants to look.
_EXTRA = ("lat", "lng", "loc", "vcard", "mentioned")


def stanza(world: World, line: Line, device: Device, m: dict[str, Any]) -> None:
    """A message arrives: the faults that are on decide what becomes of it."""
    texts = (m.get("body"), m.get("caption"), m["chat"])
    if world.faults.hit("lost_stanza", *texts):
        return
    if (fault := world.faults.hit("nack", *texts)) is not None:
        world.truth.counts["nacked"] += 1
        device.tell("nack", id=m["id"], chat=m["chat"], code=fault.parameters["code"])
        return
    row = world.truth.out.get(m["id"]) or _record(world, device, m)
    world.truth.count_stanza(row, resend=bool(m.get("resend")))
    world.stir()
    if world.faults.hit("ack_lost", *texts):
        line.cut()
        return
    if world.faults.on("deaf") or world.faults.hit("no_ack", *texts):
        return
    slow = world.faults.hit("slow_ack", *texts)
    if slow is not None:
        world.schedule.after(slow.parameters["seconds_delay"], lambda: _accepted(world, device, row))
    else:
        _accepted(world, device, row)


def _record(world: World, device: Device, m: dict[str, Any]) -> Row:
    media = m.get("media") or {}
    return world.truth.add(
        id=m["id"],
        key=m["key"],
        direction="out",
        account=device.account.number,
        device=device.number,
        chat=m["chat"],
        number=world.phonebook.number_of(m["chat"]),
        type=m["type"],
        body=m.get("body"),
        caption=m.get("caption"),
        media_sha256=media.get("sha256"),
        mimetype=m.get("mimetype"),
        filename=m.get("filename"),
        quoted=m.get("quoted"),
        extra={k: m[k] for k in _EXTRA if m.get(k) is not None},
    )


def _accepted(world: World, device: Device, row: Row) -> None:
    """The server's ack; the first time the recipients' own follow by themselves."""
    first = not row.acks
    _note(world, row, 1)
    device.tell("ack", id=row.id, chat=row.chat, ack=1, at=int(time.time()))
    if first and world.behaviour["receipts"]:
        world.schedule.after(world.behaviour["delivered_after"], lambda: _receipt(world, row, 2))


def _receipt(world: World, row: Row, ack: int) -> None:
    """A recipient's device has it (2), showed it (3), played it (4)."""
    acknowledge(world, row, ack)
    last = 4 if row.type == "ptt" else 3
    if ack < last:
        world.schedule.after(world.behaviour["read_after"], lambda: _receipt(world, row, ack + 1))


def acknowledge(world: World, row: Row, ack: int) -> None:
    """Tell the device that sent the row, or its account's others if it is gone."""
    _note(world, row, ack)
    account = world.accounts.all.get(row.account)
    if account is None:
        return
    sender = account.devices.get(row.device)
    kind = "ack" if ack == 1 else "receipt"
    for device in [sender] if sender else account.devices.values():
        device.tell(kind, id=row.id, chat=row.chat, ack=ack, at=int(time.time()), participant=_reader(world, row))


def _note(world: World, row: Row, ack: int) -> None:
    if ack not in row.acks:
        row.acks.append(ack)
        world.truth.touch(row)
        world.stir()


def _reader(world: World, row: Row) -> str | None:
    """In a group: the participant whose receipt it is, under the LID, as groups address their people."""
    group = world.phonebook.groups.get(row.chat)
    if group is None:
        return None
    other = next((n for n in group.participants if n != row.account), None)
    return None if other is None else world.phonebook.person(other).lid


def incoming(world: World, account: Account, *, sender: str, group: str | None, type: str, content: dict[str, Any]) -> Row:
    """Someone writes to us. Raises Unknown for a group that does not exist."""
    person = world.phonebook.person(sender)
    if group is not None and group not in world.phonebook.groups:
        raise Unknown(f"There is no group {group}; make it with POST /control/groups.")
    id = f"3A{secrets.token_hex(9).upper()}"
    chat = group or person.wid
    key = f"false_{chat}_{id}" + (f"_{person.wid}" if group else "")
    row = world.truth.add(
        id=id,
        key=key,
        direction="in",
        account=account.number,
        device=0,
        chat=chat,
        number=None if group else sender,
        author=sender,
        type=type,
        **content,
    )
    message = {
        "chat": chat,
        "lid": None if group else person.lid,
        "author": person.wid if group else None,
        "author_lid": person.lid if group else None,
        "type": type,
        "notifyName": person.name or f"+{sender}",
        "body": row.body,
        "caption": row.caption,
        "media": None if row.media_sha256 is None else {"sha256": row.media_sha256},
        "mimetype": row.mimetype,
        "filename": row.filename,
        "at": int(row.accepted_at),
    }
    for device in account.devices.values():
        device.tell("message", id=id, message=message)
    world.stir()
    return row


def seen(world: World, chat: str) -> None:
    """We have read that chat: its incoming messages get their blue ticks."""
    number = world.phonebook.number_of(chat)
    for row in world.truth.incoming.values():
        if (row.chat == chat or (number is not None and row.number == number)) and 3 not in row.acks:
            _note(world, row, 3)


def change(world: World, id: str, what: str, text: str | None) -> bool:
    """A reaction, an edit or a revocation of a message; False if the server does not know it."""
    row = world.truth.out.get(id) or world.truth.incoming.get(id)
    if row is None:
        return False
    if what == "react":
        row.reactions = [text] if text else []
    elif what == "edit":
        row.body = text
    elif what == "revoke":
        row.type, row.body = "revoked", None
    world.truth.touch(row)
    world.stir()
    return True
