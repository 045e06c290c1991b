"""The one place where errors of pyppeteer, Chromium and wa-js become decisions about a message.

Nothing outside this file looks at an error's text or code to decide what becomes of a message.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.browser.page import Broken, Gone, Late, PageError
from gateway.message import HandOverError, NotSent, Reason, Rejected, Unconfirmed
from gateway.process import mask

_NUMBER = re.compile(r"\d{7,}")
#: wa-js says these before anything is placed, and would say them again.
REJECTING = frozenset(
    {
        "can_not_send_message_to_this_groupType",
        "invalid_quoted_msg",
        "invalid_wid",
        "mentioned_is_not_user",
        "mentioned_list_is_not_array",
        "message_key_is_not_from_me",
        "quoted_msg_can_not_reply",
        "type_not_valid_for_newsletter",
        "type_unknown",
    }
)
#: The chat is not the one that the key names, or could not be asked: nothing was placed, the recipient is to be looked up anew.
STALE = frozenset({"remote_changed", "message_key_remote_id_is_not_same_of_chat", "chat_not_found", "not_looked_up"})
#: The bridge refused before it placed anything, for a reason that lies in host, page or account, never in the message.
_BLAMELESS = frozenset({"never_attached", "stale_host", "stale_call", "other_document", "other_account", "library_broken", "no_library"})
#: What the words of an error, its name or its text, say that WhatsApp's own code refuses; the bridge's own words are among them.
REFUSALS: dict[Reason, re.Pattern[str]] = {
    Reason.CONTACT_BLOCKED: re.compile(r"contact[ _-]?(is[ _-]?)?blocked|blocked[ _-]?contact", re.IGNORECASE),
    Reason.NOT_AN_ADMIN: re.compile(
        r"not[ _-]?(an?[ _-]?)?(group[ _-]?)?admin|only[ _-]?admins?|admins?[ _-]?only|announce(ment)?[ _-]?(only|gro?u?p)", re.IGNORECASE
    ),
    Reason.NOT_A_MEMBER: re.compile(
        r"not[ _-]?an?[ _-]?(group[ _-]?)?(member|participant)|not[ _-]?in[ _-]?(the[ _-]?)?group", re.IGNORECASE
    ),
}


def refusal_of(*words: str | None) -> Reason | None:
    """The refusal that an error's code or text tells of; None for any other error, which proves nothing."""
    return next((reason for reason, pattern in REFUSALS.items() if any(word and pattern.search(word) for word in words)), None)


def for_log(text: str) -> str:
    """An error's text without whole phone numbers; the attempt's record keeps it as it is."""
    return _NUMBER.sub(lambda found: mask(found[0]), text)


def error_of_exception(error: PageError) -> HandOverError:
    """A call on the page that got no answer: nobody knows, whatever pyppeteer says. Its text goes into the attempt's record as it is."""
    match error:
        case Gone():
            return Unconfirmed("page_gone", str(error))
        case Late():
            return Unconfirmed("deadline", str(error))
        case Broken():
            return Unconfirmed("page_broken", str(error))
    return Unconfirmed("page_error", str(error))


def error_of_answer(answer: dict[str, Any]) -> HandOverError | None:
    """What the bridge's answer to a send means; None: the message is placed."""
    if refused := answer.get("refused"):
        return of_refusal(refused["code"], refused["text"])
    if failed := answer.get("error"):
        return Unconfirmed(failed["code"], failed["text"])
    match answer.get("status"):
        case "placed":
            return None
        case "failed":
            return _of_failure(answer["code"], answer["text"])
        case "unconfirmed":
            return _of_what_was_thrown(answer)
    return Unconfirmed("page_broken", f"the bridge answered {answer!r}")


def of_refusal(code: str, text: str) -> NotSent:
    """The bridge refused a call, which it does before the ledger's entry is made."""
    return NotSent(code, text, page=code in _BLAMELESS)


def _of_what_was_thrown(answer: dict[str, Any]) -> HandOverError:
    """An error of WhatsApp's own code. It proves that nothing was sent, and will not be, only if its words say so and the page
    shows no message of this id, or shows it as failed: one with the clock is sent by the page itself one day."""
    code, text = answer["code"], answer["text"]
    refusal, ack = refusal_of(code, text), answer.get("ack", 0)
    if refusal is not None and (ack is None or ack < 0):
        return Rejected(refusal.value, text, reason=refusal, handed=True)
    return Unconfirmed(code, text)


def _of_failure(code: str, text: str) -> HandOverError:
    """An error before the message reached WhatsApp's own code: proven not sent."""
    if (refusal := refusal_of(code, text)) is not None:
        return Rejected(refusal.value, text, reason=refusal)
    if code in REJECTING:
        return Rejected(code, text)
    return NotSent(code, text, counted=code not in STALE, page=code in _BLAMELESS)
