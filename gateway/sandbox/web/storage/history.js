// Messages between database and memory. A row is keyed by direction and stanza id, which is unique: the
// full key may change (a chat moves to its LID, a group message is found under another participant).
__d('SandboxHistory', [], (exports) => {
  const database = require('SandboxDatabase');
  const settings = require('SandboxSettings');
  const people = require('SandboxPeople');
  const MsgKey = require('WAWebMsgKey').default;
  const { createWid } = require('WAWebWidFactory');
  const { Msg } = require('WAWebMsgModel');

  // messages kept in memory, and how many of them are there right after the start
  const IN_MEMORY = 20_000;
  const AT_START = 500;

  const bySid = new Map();
  // until then nothing that is stored is found; by performance.now()
  let readableAt = 0;
  let lastRowId = 0;
  const nextRowId = () => (lastRowId = Math.max(Date.now() * 1000, lastRowId + 1));

  exports.sid = (key) => `${key.fromMe ? 'out' : 'in'}_${key.id}`;
  exports.inMemory = (sid) => bySid.get(sid);

  const text = (value) => (value == null ? undefined : String(value));
  const WIDS = ['from', 'to', 'author', 'participant'];

  // the plain row of a raw message or a model, ready for the database
  exports.row = (raw) => {
    const key = MsgKey.from(raw.id);
    const wids = Object.fromEntries(WIDS.map((name) => [name, text(raw[name])]));
    const plain = JSON.parse(JSON.stringify({ ...raw, id: undefined, mediaData: undefined, ...wids }));
    return { ...plain, id: String(key), sid: exports.sid(key), chat: String(key.remote), rowId: raw.rowId ?? nextRowId() };
  };

  // put a raw message into memory, where wa-js sees it
  exports.place = (raw) => {
    const { MsgCollection } = require('WAWebMsgCollection');
    const key = MsgKey.from(raw.id);
    const known = MsgCollection.get(key);
    if (known) return known;
    const wids = Object.fromEntries(WIDS.filter((name) => raw[name]).map((name) => [name, createWid(String(raw[name]))]));
    const chat = require('SandboxChats').open(key.remote);
    const { sid: _sid, chat: _chat, rowId: _rowId, unsent: _unsent, ...attributes } = raw;
    const msg = new Msg({ ...attributes, ...wids, id: key });
    bySid.set(exports.sid(key), msg);
    MsgCollection.add(msg);
    chat.msgs.add(msg);
    chat.set('t', Math.max(chat.t ?? 0, msg.t ?? 0));
    if (!key.fromMe && raw.isNewMsg) chat.set('unreadCount', Math.max(0, chat.unreadCount) + 1);
    if (MsgCollection.length > IN_MEMORY) forget(MsgCollection.first());
    return msg;
  };

  const forget = (msg) => {
    require('WAWebMsgCollection').MsgCollection.forget(msg.id);
    require('WAWebChatCollection').ChatCollection.get(msg.id.remote)?.msgs.forget(msg.id);
    bySid.delete(exports.sid(msg.id));
  };

  // a stored row as this WhatsApp shows it today: chats under LIDs, own group messages under the participant it prefers
  const revived = (row) => {
    const key = MsgKey.fromString(row.id);
    const remote = key.remote.isGroup() ? key.remote : people.addressed(key.remote);
    const own = key.fromMe && key.participant ? { lid: people.me.lid, pn: people.me.pn }[settings.behaviour.group_participant] : undefined;
    const id = new MsgKey({ fromMe: key.fromMe, remote, id: key.id, participant: own ?? key.participant });
    return { ...row, id: String(id), chat: String(remote), ...(row.to && key.fromMe && { to: String(remote) }), isNewMsg: false };
  };

  exports.read = (sid) => database.get('message', sid);

  // the message of exactly that key, from the database into memory
  exports.load = async (key) => {
    if (performance.now() < readableAt) return undefined;
    const row = await exports.read(exports.sid(key));
    if (!row) return undefined;
    const shown = revived(row);
    return shown.id === String(key) ? exports.place(shown) : undefined;
  };

  // up to `count` stored messages of a chat, before or after a row
  exports.around = async (chat, rowId, direction, count) => {
    const range =
      direction === 'after'
        ? [
            [chat, rowId + 1],
            [chat, Infinity],
          ]
        : [
            [chat, 0],
            [chat, rowId - 1],
          ];
    const rows = await database.byIndex('message', 'chat', IDBKeyRange.bound(...range));
    return (direction === 'after' ? rows.slice(0, count) : rows.slice(-count)).map(revived);
  };

  exports.unsent = () => database.byIndex('message', 'unsent', 1);

  // what is in memory at MAIN, or that long after it
  exports.start = async () => {
    const late = (settings.behaviour.late_stores ?? 0) * 1000;
    readableAt = performance.now() + late;
    if (settings.behaviour.stores_not_in_memory) return;
    if (late) setTimeout(fill, late);
    else await fill();
  };

  const fill = async () => {
    for (const chat of await database.all('chat')) require('SandboxChats').open(people.addressed(createWid(chat.id)), chat);
    for (const row of await database.newest('message', 'rowId', AT_START)) exports.place(revived(row));
    for (const row of await exports.unsent()) exports.place(revived(row));
  };
});
