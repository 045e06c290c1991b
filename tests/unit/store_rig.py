"""A store in a temporary directory, with a clock of its own, that checks its lanes and counters after each step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from gateway.beat import boot_time
from gateway.message import State as M
from gateway.session import State as S
from gateway.store import counters, database, lanes, outbox, recipients, sessions
from gateway.store.outbox import Claim, Draft, MessageView

P, T = ParamSpec("P"), TypeVar("T")
ME = "4900@c.us"
START = 1_000_000.0


class Rig:
    """One session named `default`, linked and ready, with the host's fence of epoch 1."""

    def __init__(self, path: Path, *, ready: bool = True, file: str = "gateway.db") -> None:
        self.path = path / file
        self.conn = database.open_database(self.path)
        self.conn.execute("PRAGMA synchronous = OFF")  # no test here pulls the plug
        self.now, self.generation, self.incarnation = START, "g1", "i1"
        self.fence = self.do(sessions.attach_host, name="default", now=self.now)
        if ready:
            self.link(ME)

    def do(self, operation: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """One transaction."""
        with database.transaction(self.conn, boot_time() + 5):
            return operation(self.conn, *args, **kwargs)

    def check(self) -> None:
        """What must hold between any two transactions."""
        assert lanes.check(self.conn) == []
        found = {r[0]: r[1] for r in self.conn.execute("SELECT state, count(*) FROM outbox GROUP BY state")}
        counted = {s: int(counters.value(self.conn, "messages", {"session": "default", "state": s.word})) for s in M}
        assert {s: n for s, n in counted.items() if n} == found

    def link(self, account: str, limit: int = 250) -> None:
        self.do(
            sessions.linked,
            self.fence,
            account=account,
            lid=None,
            device=f"{account}:1",
            incarnation=self.incarnation,
            generation=self.generation,
            now=self.now,
            limit=limit,
        )
        for state in (S.STARTING, S.SYNCING, S.READY):
            self.do(sessions.set_state, self.fence, state=state, now=self.now)

    def new_host(self) -> None:
        self.fence = self.do(sessions.attach_host, name="default", now=self.now)
        self.do(outbox.older_epochs, self.fence, now=self.now)

    def accept(self, *addresses: str, key: str | None = None, **more: Any) -> list[str]:
        """One message to each address, in one request; advances the clock by a second."""
        self.now += 1
        drafts = [Draft("default", a, "text", {"body": f"to {a}"}, **more) for a in addresses]
        taken = self.do(
            outbox.accept, drafts=drafts, scope="s", key=key, fingerprint=repr(drafts).encode(), now=self.now, queue_limit=1_000_000
        )
        self.check()
        return taken.ids

    def resolve(self) -> None:
        """Look everybody up who is to be looked up: all are on WhatsApp under the address written to."""
        for one in recipients.unresolved(self.conn, session="default", now=self.now, limit=100):
            self.resolved(one.recipient, one.address)

    def resolved(self, recipient: int, address: str, lid: str | None = None) -> int:
        number = self.do(
            recipients.resolved,
            self.fence,
            recipient=recipient,
            wa_id=address.split("@")[0],
            pn=address if address.endswith("@c.us") else None,
            lid=lid,
            remote=lid or address,
            participant=ME if address.endswith("@g.us") else None,
            now=self.now,
        )
        self.check()
        return number

    def claim(self, **more: Any) -> Claim | None:
        self.now += 1
        found = self.do(outbox.claim, self.fence, generation=self.generation, incarnation=self.incarnation, now=self.now, **more)
        self.check()
        return found

    def claimed(self, **more: Any) -> Claim:
        found = self.claim(**more)
        assert found is not None
        return found

    def sent_not(self, claim: Claim, error: Any, *, delay: float = 10.0, max_attempts: int = 3) -> bool:
        done = self.do(
            outbox.sent_not,
            self.fence,
            rowid=claim.rowid,
            attempt=claim.attempt,
            error=error,
            due=self.now + delay,
            now=self.now,
            max_attempts=max_attempts,
        )
        self.check()
        return done

    def ack(self, hex_: str, ack: int = 1) -> bool:
        self.now += 1
        done = self.do(outbox.acked, self.fence, hex=hex_, ack=ack, at=self.now, now=self.now)
        self.check()
        return done

    def nack(self, hex_: str, error: Any, *, delay: float = 10.0, max_attempts: int = 3) -> bool:
        self.now += 1
        done = self.do(outbox.nacked, self.fence, hex=hex_, error=error, due=self.now + delay, now=self.now, max_attempts=max_attempts)
        self.check()
        return done

    def reconciled(self, claim: Claim, verdict: Any, **more: Any) -> bool:
        done = self.do(outbox.reconciled, self.fence, rowid=claim.rowid, attempt=claim.attempt, verdict=verdict, now=self.now, **more)
        self.check()
        return done

    def get(self, id_: str) -> MessageView:
        found = outbox.get(self.conn, id_)
        assert found is not None
        return found

    def state(self, id_: str) -> M:
        return self.get(id_).state

    def hex(self, id_: str) -> str:
        return str(self.conn.execute("SELECT hex FROM outbox WHERE public = ?", (id_,)).fetchone()[0])

    def pending(self) -> list[outbox.Pending]:
        return outbox.to_reconcile(self.conn, session="default", now=self.now)

    def reason(self) -> str | None:
        return outbox.queue_status(self.conn, now=self.now, session="default").reason

    def send_one(self, address: str) -> str:
        """A message that went out: gives the chat history."""
        (id_,) = self.accept(address)
        self.resolve()
        claim = self.claimed()
        assert claim.message == id_
        assert self.ack(claim.key.hex)
        return id_
