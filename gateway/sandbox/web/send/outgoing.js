// Messages on their way out. Each is written to the database before it goes on the line, and stays `unsent`
// there until the server acks it: after a reload, or on the next connection, the page sends it again by itself.
__d('SandboxOutgoing', [], (exports) => {
  const line = require('SandboxLine');
  const database = require('SandboxDatabase');
  const history = require('SandboxHistory');
  const settings = require('SandboxSettings');
  const MsgKey = require('WAWebMsgKey').default;
  const { SendMsgResult } = require('WAWebSendMsgResultAction');

  // sid → {row, stored, calls (not yet on the line), connection (that it went out on last), waiting (for the result)}
  const entries = new Map();

  const stanza = (row) => {
    const key = MsgKey.fromString(row.id);
    return {
      t: 'send',
      id: key.id,
      key: row.id,
      chat: String(key.remote),
      type: row.type,
      body: row.body,
      caption: row.caption,
      media: row.media,
      mimetype: row.mimetype,
      filename: row.filename,
      quoted: row.quotedStanzaID,
      lat: row.lat,
      lng: row.lng,
      loc: row.loc,
      vcard: row.vcardFormattedName ?? row.vcard,
      mentioned: row.mentionedJidList,
    };
  };

  // put an entry on the line if it is up: once for each call that never got there, else once as a resend
  const transmit = (entry) => {
    if (!line.online()) return;
    if (!entry.calls && entry.connection !== line.number) line.say({ ...stanza(entry.row), resend: true });
    for (; entry.calls; entry.calls -= 1) line.say({ ...stanza(entry.row), resend: false });
    entry.connection = line.number;
  };

  const write = async (entry) => {
    await database.write({ store: 'message', put: { ...entry.row } });
    entry.stored = true;
  };

  // a call of addAndSendMsgToChat: resolves to the message once it is stored and, if the line is up, sent
  exports.send = (raw) => {
    const msg = history.place(raw);
    const sid = history.sid(msg.id);
    const entry = entries.get(sid) ?? {
      row: { ...history.row(raw), ack: 0, unsent: 1 },
      stored: false,
      calls: 0,
      connection: 0,
      waiting: [],
    };
    entries.set(sid, entry);
    entry.calls += 1;
    const result = new Promise((resolve) => entry.waiting.push(resolve));
    const placed = (async () => {
      if (!settings.behaviour.store_after_send) {
        await write(entry);
        transmit(entry);
      } else {
        transmit(entry);
        await write(entry);
      }
      return msg;
    })();
    return { placed, result };
  };

  // the server has answered: ack ≥ 1, or -1 with a code. Returns what is to be written.
  exports.acked = async ({ id, ack, at, code }) => {
    const sid = `out_${id}`;
    const entry = entries.get(sid);
    const row = entry?.row ?? (await history.read(sid));
    entries.delete(sid);
    history.inMemory(sid)?.updateAck(ack);
    const messageSendResult = ack > 0 ? SendMsgResult.OK : SendMsgResult.ERROR_UNKNOWN;
    for (const resolve of entry?.waiting ?? []) resolve({ messageSendResult, t: at, ...(code !== undefined && { errorCode: code }) });
    if (!row) return [];
    const { unsent: _, ...rest } = row;
    const next = ack < 0 && row.ack > 0 ? row.ack : ack < 0 ? ack : Math.max(row.ack, ack);
    return [{ store: 'message', put: { ...rest, ack: next } }];
  };

  // after a reload: what an earlier document of this profile left unsent
  exports.start = async () => {
    for (const row of await history.unsent()) {
      if (!entries.has(row.sid)) entries.set(row.sid, { row, stored: true, calls: 0, connection: 0, waiting: [] });
    }
  };

  // on each connection, once synced: everything that has no ack yet
  exports.flush = () => {
    for (const entry of [...entries.values()].sort((a, b) => a.row.rowId - b.row.rowId)) if (entry.stored) transmit(entry);
  };
});

__d('WAWebSendMsgChatAction', [], (exports) => {
  exports.addAndSendMsgToChat = async (chat, raw) => {
    const refusal = require('SandboxRefusals').of(chat, raw);
    if (refusal) return require('SandboxRefusals').answer(refusal, raw);
    const { placed, result } = require('SandboxOutgoing').send(raw);
    return [placed, result];
  };
  exports.addAndSendTextMsg = (chat, raw) => exports.addAndSendMsgToChat(chat, raw);
  exports.addAndSendMessageEdit = (msg, raw) => require('SandboxChanges').edit(msg, raw);
});

__d('WAWebSendMsgResultAction', [], (exports) => {
  const names = ['OK', 'ERROR_NETWORK', 'ERROR_EXPIRED', 'ERROR_CANCELLED', 'ERROR_UPLOAD', 'ERROR_UNKNOWN'];
  exports.SendMsgResult = Object.fromEntries(names.map((name) => [name, name]));
});
