"""The schema, as a numbered list of steps. A step, once released, is never edited.

sqlite-utils applies and records them; `PRAGMA user_version` holds their number too, so that a
program sees with one cheap look that there is nothing to do. auto_vacuum is set by
`database.open_database` before the first table.
"""

from __future__ import annotations

# Times are wall-clock seconds (REAL), states the numbers of gateway.message.State, JSON is TEXT.
_FIRST = """
CREATE TABLE session(
    name TEXT PRIMARY KEY,
    created REAL NOT NULL,
    desired TEXT NOT NULL DEFAULT 'started' CHECK (desired IN ('started', 'stopped')),
    paused INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL DEFAULT 'stopped',
    state_since REAL NOT NULL,
    detail TEXT,
    epoch INTEGER NOT NULL DEFAULT 0,
    account TEXT,                 -- linked now
    account_lid TEXT,
    device TEXT,
    last_account TEXT,            -- linked last: what is accepted while unlinked belongs to it
    incarnation TEXT,
    generation TEXT,
    restricted_until REAL,
    restricted_everything INTEGER NOT NULL DEFAULT 0,
    last_accepted REAL NOT NULL DEFAULT 0,   -- `accepted` never steps back
    last_sent_at REAL,
    last_health_at REAL,
    healthy INTEGER,
    complaints TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE recipient(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL REFERENCES session(name),
    state INTEGER NOT NULL DEFAULT 0,        -- 0 to be looked up, 1 known, 2 not on WhatsApp
    is_group INTEGER NOT NULL DEFAULT 0,
    wa_id TEXT, pn TEXT, lid TEXT, remote TEXT, participant TEXT,
    ask_at REAL,                             -- state 0: when to look up; state 2: until when the answer holds
    resolved_at REAL,
    history_at REAL                          -- when a message to it was acked first
) STRICT;

CREATE TABLE alias(
    session TEXT NOT NULL,
    address TEXT NOT NULL,
    recipient INTEGER NOT NULL REFERENCES recipient(id),
    PRIMARY KEY (session, address)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_recipient ON alias(recipient);

-- one accepted request with an idempotency key
CREATE TABLE request(
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    ids TEXT NOT NULL,
    created REAL NOT NULL,
    UNIQUE (scope, key)
) STRICT;

-- its columns are explained where it was made anew last
CREATE TABLE outbox(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES session(name),
    recipient INTEGER NOT NULL REFERENCES recipient(id),
    address TEXT NOT NULL,
    account TEXT,
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    callback_data TEXT,
    request INTEGER REFERENCES request(id),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    accepted REAL NOT NULL,
    send_at REAL,
    scheduled INTEGER NOT NULL DEFAULT 0,
    ttl REAL,
    expires_at REAL,
    ord REAL NOT NULL,
    due REAL NOT NULL,
    state INTEGER NOT NULL DEFAULT 0,
    state_since REAL NOT NULL,
    hold TEXT CHECK (hold IN ('restored', 'other_account')),
    reason TEXT,
    error TEXT,
    hex TEXT NOT NULL UNIQUE,
    key TEXT,
    number INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    uncertain INTEGER NOT NULL DEFAULT 0,
    resend INTEGER NOT NULL DEFAULT 0,
    asked INTEGER NOT NULL DEFAULT 0,
    waiting_since REAL,
    timeouts INTEGER NOT NULL DEFAULT 0,
    timeout_generations TEXT NOT NULL DEFAULT '[]'
) STRICT;
CREATE INDEX outbox_recipient ON outbox(recipient, id);
CREATE INDEX outbox_request ON outbox(request) WHERE request IS NOT NULL;
CREATE INDEX outbox_open ON outbox(session, recipient, ord, id) WHERE state = 0 AND hold IS NULL;
CREATE INDEX outbox_busy ON outbox(session, recipient) WHERE state IN (1, 2);
CREATE INDEX outbox_queued ON outbox(session, scheduled, ord) WHERE state = 0;
CREATE INDEX outbox_backoff ON outbox(session, due) WHERE state = 0 AND number > 0;
CREATE INDEX outbox_held ON outbox(session, hold, id) WHERE state = 0 AND hold IS NOT NULL;
CREATE INDEX outbox_expires ON outbox(expires_at) WHERE state = 0 AND expires_at IS NOT NULL;
CREATE INDEX outbox_done ON outbox(session, state_since) WHERE state >= 10;
CREATE INDEX outbox_failed ON outbox(session, id) WHERE state = 20;

-- ids that a nack made obsolete: a late receipt for one still finds its message
CREATE TABLE former_id(
    hex TEXT PRIMARY KEY,
    message INTEGER NOT NULL REFERENCES outbox(id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
CREATE INDEX former_id_message ON former_id(message);

CREATE TABLE attempt(
    message INTEGER NOT NULL REFERENCES outbox(id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    generation TEXT NOT NULL,
    incarnation TEXT NOT NULL,
    key TEXT NOT NULL,
    claimed_at REAL NOT NULL,
    placed_at REAL,
    ended_at REAL,
    outcome TEXT,
    code TEXT,
    error TEXT,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;

-- one row for each chat with work: its head. Derivable; lanes.py
CREATE TABLE lane(
    session TEXT NOT NULL,
    recipient INTEGER NOT NULL,
    head_id INTEGER NOT NULL,
    head_ord REAL NOT NULL,
    priority INTEGER NOT NULL,
    new INTEGER NOT NULL,                    -- no history with this chat
    due REAL NOT NULL,
    blocked INTEGER NOT NULL,                -- bit 1 busy, bit 2 resolving
    ask_at REAL,                             -- when to look its recipient up, while resolving
    PRIMARY KEY (session, recipient)
) STRICT, WITHOUT ROWID;
CREATE INDEX lane_due ON lane(session, priority, new, due) WHERE blocked = 0;
CREATE INDEX lane_blocked ON lane(session, due) WHERE blocked <> 0;
CREATE INDEX lane_asking ON lane(session, ask_at) WHERE ask_at IS NOT NULL;

CREATE TABLE command(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    target TEXT NOT NULL CHECK (target IN ('browser', 'watchdog')),
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    asked_at REAL NOT NULL,
    deadline REAL NOT NULL,
    taken_at REAL,
    answered_at REAL,
    result TEXT,
    error TEXT
) STRICT;
CREATE INDEX command_open ON command(target, session, id) WHERE taken_at IS NULL AND answered_at IS NULL;

CREATE TABLE recovery(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    session TEXT NOT NULL,
    cause TEXT NOT NULL,
    strategy TEXT,
    by TEXT NOT NULL,
    rungs TEXT NOT NULL DEFAULT '[]',
    status TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'succeeded', 'failed', 'interrupted')),
    detail TEXT,
    started_at REAL NOT NULL,
    ended_at REAL
) STRICT;
CREATE UNIQUE INDEX recovery_running ON recovery(session) WHERE status = 'running';

CREATE TABLE event(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    kind TEXT NOT NULL,
    session TEXT,
    message INTEGER,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX event_message ON event(message, id) WHERE message IS NOT NULL;

CREATE TABLE origin(place TEXT NOT NULL) STRICT;   -- one row: where this database was opened last

CREATE TABLE counter(
    name TEXT NOT NULL,
    labels TEXT NOT NULL,                    -- canonical JSON
    value REAL NOT NULL,
    PRIMARY KEY (name, labels)
) STRICT, WITHOUT ROWID;

CREATE TABLE histogram(
    name TEXT NOT NULL,
    labels TEXT NOT NULL,
    le REAL NOT NULL,                        -- upper bound of the bucket; counts are not cumulative
    count INTEGER NOT NULL,
    PRIMARY KEY (name, labels, le)
) STRICT, WITHOUT ROWID;

CREATE TABLE sent_minute(
    session TEXT NOT NULL,
    minute INTEGER NOT NULL,                 -- wall clock / 60
    count INTEGER NOT NULL,
    PRIMARY KEY (session, minute)
) STRICT, WITHOUT ROWID;
"""

_RESTRICTIONS = """
ALTER TABLE session ADD COLUMN restrictions INTEGER NOT NULL DEFAULT 0;   -- in a row, each tried out after it had ended
"""

_PACING = """
CREATE TABLE handed(
    session TEXT NOT NULL,
    minute INTEGER NOT NULL,                 -- wall clock / 60
    count INTEGER NOT NULL,                  -- hand-overs claimed
    new_chats INTEGER NOT NULL,              -- of them, to chats without history
    last REAL NOT NULL,
    PRIMARY KEY (session, minute)
) STRICT, WITHOUT ROWID;
ALTER TABLE recipient ADD COLUMN next_at REAL;   -- the gap between two messages to one chat: not before
CREATE INDEX recipient_paced ON recipient(session, next_at) WHERE next_at IS NOT NULL;
"""

# Each index in which a fresh row lies at a place of its own costs a page of WAL for each message accepted; these two were
# two such pages. A chat's head, its busy rows and all of its rows are each one range of the new one.
_ONE_INDEX_A_CHAT = """
CREATE INDEX outbox_chat ON outbox(recipient, state, hold, ord);
DROP INDEX outbox_open;
DROP INDEX outbox_recipient;
"""

# The index behind UNIQUE held each row's id from its acceptance on, at a random place: a page of WAL for each message accepted.
# Now it holds those that WhatsApp may know. A constraint cannot be dropped, so the table is made anew.
_IDS_THAT_ARE_OUT = """
CREATE TABLE outbox_new(
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    public TEXT NOT NULL UNIQUE,
    session TEXT NOT NULL REFERENCES session(name),
    recipient INTEGER NOT NULL REFERENCES recipient(id),
    address TEXT NOT NULL,
    account TEXT,                            -- whose message it is
    type TEXT NOT NULL,
    content TEXT NOT NULL,
    callback_data TEXT,
    request INTEGER REFERENCES request(id),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    accepted REAL NOT NULL,
    send_at REAL,
    scheduled INTEGER NOT NULL DEFAULT 0,    -- send_at lay in the future
    ttl REAL,
    expires_at REAL,
    ord REAL NOT NULL,                       -- place in the chat: max(accepted, send_at)
    due REAL NOT NULL,                       -- not before
    state INTEGER NOT NULL DEFAULT 0,
    state_since REAL NOT NULL,
    hold TEXT CHECK (hold IN ('restored', 'other_account')),
    reason TEXT,
    error TEXT,
    hex TEXT NOT NULL,                       -- of its next or present hand-over
    key TEXT,                                -- full key of its last hand-over
    number INTEGER NOT NULL DEFAULT 0,       -- of its last attempt
    attempts INTEGER NOT NULL DEFAULT 0,     -- hand-overs proven not sent that count
    uncertain INTEGER NOT NULL DEFAULT 0,    -- handed over, perhaps, and neither proven sent nor proven not sent
    resend INTEGER NOT NULL DEFAULT 0,       -- accept_duplicate was given
    asked INTEGER NOT NULL DEFAULT 0,        -- held, and its release asked for: to be reconciled
    waiting_since REAL,                      -- of an ack: start of the present send timeout
    timeouts INTEGER NOT NULL DEFAULT 0,
    timeout_generations TEXT NOT NULL DEFAULT '[]',
    exposed INTEGER NOT NULL DEFAULT 0       -- WhatsApp may know `hex`: claimed with it, here or before a restore
) STRICT;
INSERT INTO outbox_new SELECT *, 1 FROM outbox ORDER BY id;
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'outbox') WHERE name = 'outbox_new';
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE UNIQUE INDEX outbox_hex ON outbox(hex) WHERE exposed = 1;
CREATE INDEX outbox_chat ON outbox(recipient, state, hold, ord);
CREATE INDEX outbox_request ON outbox(request) WHERE request IS NOT NULL;
CREATE INDEX outbox_busy ON outbox(session, recipient) WHERE state IN (1, 2);
CREATE INDEX outbox_queued ON outbox(session, scheduled, ord) WHERE state = 0;
CREATE INDEX outbox_backoff ON outbox(session, due) WHERE state = 0 AND number > 0;
CREATE INDEX outbox_held ON outbox(session, hold, id) WHERE state = 0 AND hold IS NOT NULL;
CREATE INDEX outbox_expires ON outbox(expires_at) WHERE state = 0 AND expires_at IS NOT NULL;
CREATE INDEX outbox_done ON outbox(session, state_since) WHERE state >= 10;
CREATE INDEX outbox_failed ON outbox(session, id) WHERE state = 20;
"""

# Idempotency keys had a scope that was derived from the API key, or `local` without one. All have one scope now, so that a
# repeat after the API key was changed is recognised. Where one key was used under several scopes, the last request counts: its
# answer is the last one that the caller was given. The earlier rows stay, since messages refer to them, and are not asked for.
# The table is made anew because that takes a quarter of the time of changing each row (6.6 s for a million keys).
ONE_SCOPE = """
CREATE TABLE request_new(
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    ids TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
INSERT INTO request_new
    SELECT id, CASE WHEN id IN (SELECT max(id) FROM request GROUP BY key) THEN 'gateway' ELSE scope END, key, fingerprint, ids, created
    FROM request ORDER BY id;
DROP TABLE request;
ALTER TABLE request_new RENAME TO request;
CREATE UNIQUE INDEX request_key ON request(scope, key);
"""

# Work that grew with the store: each of these indexes replaces a scan of rows that the question is not about.
# Before, one index held all ended rows by time: each second a host read every row that had ended since the last ack, and each
# pass of retention read every dead letter that is older than what is kept.
_WHAT_IS_ASKED = """
CREATE INDEX outbox_ended ON outbox(session, state, state_since) WHERE state NOT IN (0, 1, 2);
DROP INDEX outbox_done;
CREATE INDEX outbox_given_up ON outbox(session, state_since) WHERE state = 20 AND timeouts > 0;
CREATE INDEX outbox_unknown ON outbox(session, state_since) WHERE state = 20 AND uncertain;
CREATE INDEX outbox_asked ON outbox(session, id) WHERE state = 0 AND hold IS NOT NULL AND asked;
DROP INDEX outbox_expires;
CREATE INDEX outbox_expires ON outbox(expires_at) WHERE state = 0 AND expires_at IS NOT NULL AND NOT uncertain AND hold IS NOT 'restored';
"""

# When another number was linked, one transaction sorted the whole queue. It is sorted in batches now, and until that is done
# nothing is claimed, so the session remembers for which account its queue was sorted last.
_SORTED_IN_BATCHES = """
ALTER TABLE session ADD COLUMN first_account TEXT;        -- linked first: what was accepted before any login belongs to it
ALTER TABLE session ADD COLUMN queue_sorted_for TEXT;     -- each queued row of another account is held, and none of this one
ALTER TABLE session ADD COLUMN queue_sorted_to TEXT;      -- while it is sorted for the account linked now: the last row seen
UPDATE session SET first_account = last_account, queue_sorted_for = last_account;
"""

#: step n brings the schema from user_version n to n + 1
STEPS: tuple[str, ...] = (
    _FIRST, _RESTRICTIONS, _PACING, _ONE_INDEX_A_CHAT, _IDS_THAT_ARE_OUT, ONE_SCOPE, _WHAT_IS_ASKED, _SORTED_IN_BATCHES,
)  # fmt: skip
