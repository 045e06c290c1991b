"""The one place where errors of pyppeteer, Chromium and wa-js become decisions about a message.

Nothing outside this file looks at an error's text or code to decide what becomes of a message.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.browser.page import Broken, Gone, Late, PageError
from gateway.message import HandOverError, NotSent, Rejected, Unconfirmed
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
            return Unconfirmed(answer["code"], answer["text"])
    return Unconfirmed("page_broken", f"the bridge answered {answer!r}")


def of_refusal(code: str, text: str) -> NotSent:
    """The bridge refused a call, which it does before the ledger's entry is made."""
    return NotSent(code, text, page=code in _BLAMELESS)


def _of_failure(code: str, text: str) -> HandOverError:
    """An error before the message reached WhatsApp's own code: proven not sent."""
    if code in REJECTING:
        return Rejected(code, text)
    return NotSent(code, text, counted=code not in STALE, page=code in _BLAMELESS)
