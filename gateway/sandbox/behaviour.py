"""How this WhatsApp behaves: each setting with what it means. The page gets them all by its socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .faults import REFUSALS
from .fields import Bad, Fields


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting; its kind is read off the default, unless it is a choice of words."""

    name: str
    default: bool | float | str
    sentence: str
    options: tuple[str, ...] = ()
    when_true: float = 0.0  #: for seconds: what `true` stands for


SETTINGS: tuple[Setting, ...] = (
    Setting("refuse_headless", True, "Browsers whose user agent says Headless get a page that turns them away."),
    Setting("passkey_after_scan", False, "After the scan the page asks for a passkey (WebAuthn) before it is linked."),
    Setting("slow_load", 0.0, "The page's scripts arrive this many seconds late; true means 5.", when_true=5.0),
    Setting("slow_sync", 0.0, "After the login the stores arrive this many seconds late; true means 5.", when_true=5.0),
    Setting("stores_not_in_memory", False, "At MAIN no chat is in memory; each is read from IndexedDB when it is opened."),
    Setting(
        "late_stores",
        0.0,
        "For this many seconds after MAIN the page finds no stored message, as if it had not read its database yet; true means 3.",
        when_true=3.0,
    ),
    Setting("store_after_send", False, "A message is written to the page's database after it went out on the socket, not before."),
    Setting("lid_migration", False, "Chats are opened under the person's LID (…@lid) instead of the phone number."),
    Setting(
        "group_participant",
        "as sent",
        "Under whose name the page finds our group messages after a reload: as sent, our lid, or our pn.",
        options=("as sent", "lid", "pn"),
    ),
    Setting(
        "refuses",
        "throws",
        "How the page refuses a message to a blocked contact, or into a group where only admins write: as the fault `refusal` does.",
        options=REFUSALS,
    ),
    Setting("receipts", True, "Recipients' devices say delivered, read and (voice) played by themselves."),
    Setting("delivered_after", 0.15, "Seconds from WhatsApp's own ack to the recipient's `delivered`."),
    Setting("read_after", 1.0, "Seconds from `delivered` to `read`, and from `read` to `played` for voice messages."),
    Setting("qr_first", 60.0, "Seconds that the first QR code is valid."),
    Setting("qr_each", 20.0, "Seconds that each of the five codes after it is valid; then the page goes idle."),
)


class Behaviour:
    """The settings' present values."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.reset()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def reset(self) -> None:
        """Back to the defaults."""
        self.values = {s.name: s.default for s in SETTINGS}

    def change(self, body: Fields) -> None:
        """Take new values, all of them or, raising Bad, none."""
        new = {s.name: _value(s, body) for s in SETTINGS if body.has(s.name)}
        body.done(s.name for s in SETTINGS)
        self.values.update(new)

    def described(self) -> dict[str, Any]:
        """Values and what they mean."""
        return {
            "settings": dict(self.values),
            "meaning": {s.name: s.sentence for s in SETTINGS},
            "options": {s.name: list(s.options) for s in SETTINGS if s.options},
        }


def _value(setting: Setting, body: Fields) -> Any:
    if setting.options:
        return body.choice(setting.name, setting.options, str(setting.default))
    if isinstance(setting.default, bool):
        return body.flag(setting.name, setting.default)
    raw = body.take(setting.name, setting.default)
    if isinstance(raw, bool) and setting.when_true:
        return setting.when_true if raw else 0.0
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= 3_600:
        raise Bad(f"'{setting.name}' must be a number of seconds from 0 to 3600.")
    return float(raw)
