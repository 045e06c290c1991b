// News from the server: acks, receipts, incoming messages. Each is applied, written to the database, and only
// then confirmed; what was not confirmed comes again on the next connection.
__d('SandboxNews', [], (exports) => {
  const line = require('SandboxLine');
  const database = require('SandboxDatabase');
  const history = require('SandboxHistory');
  const people = require('SandboxPeople');
  const MsgKey = require('WAWebMsgKey').default;
  const { createWid } = require('WAWebWidFactory');

  const incoming = async ({ id, message }) => {
    const { MsgCollection } = require('WAWebMsgCollection');
    if (message.lid) people.learn(message.chat, message.lid);
    if (message.author_lid) people.learn(message.author, message.author_lid);
    const chat = people.addressed(createWid(message.chat));
    const key = new MsgKey({ fromMe: false, remote: chat, id, participant: message.author_lid ?? undefined });
    const raw = {
      id: key,
      type: message.type,
      body: message.body,
      caption: message.caption,
      notifyName: message.notifyName,
      t: message.at,
      ack: 1,
      from: chat,
      to: people.me.pn,
      author: message.author_lid ?? undefined,
      mimetype: message.mimetype,
      filename: message.filename,
      media: message.media ?? undefined,
    };
    const again = !!(await history.read(history.sid(key)));
    if (message.media) raw.mediaData = { type: message.type, mimetype: message.mimetype, mediaStage: 'REMOTE' };
    await MsgCollection.processMultipleMessages(chat, [{ ...raw, isNewMsg: !again }]);
    return again ? [] : [{ store: 'message', put: history.row(raw) }];
  };

  const receipt = async ({ id, chat, ack, at, participant }) => {
    const remote = createWid(chat);
    const kind = remote.isGroup() ? 'Group' : 'Chat';
    require(`WAWebHandle${kind}SimpleReceipt`)[`handle${kind}SimpleReceipt`]({
      ack,
      ackString: { 2: 'delivery', 3: 'read', 4: 'played' }[ack],
      from: remote,
      participant: participant ? createWid(participant) : undefined,
      recipient: null,
      externalIds: [id],
      ts: at,
    });
    return require('SandboxOutgoing').acked({ id, ack, at });
  };

  const apply = {
    message: incoming,
    receipt,
    ack: (news) => require('SandboxOutgoing').acked(news),
    nack: (news) => require('SandboxOutgoing').acked({ ...news, ack: -1 }),
  };

  let queue = [];
  let busy = false;
  const drain = async () => {
    busy = true;
    try {
      while (queue.length) {
        const batch = queue;
        queue = [];
        const operations = [];
        for (const news of batch) operations.push(...(await apply[news.kind](news)));
        await database.write(...operations);
        line.say({ t: 'confirmed', n: batch.at(-1).n });
      }
    } finally {
      busy = false;
    }
  };

  exports.start = () =>
    line.on('news', (news) => {
      queue.push(news);
      if (!busy) drain().catch((error) => console.error('sandbox: news could not be taken in:', error));
    });
});

for (const kind of ['Chat', 'Group', 'Status']) {
  __d(`WAWebHandle${kind}SimpleReceipt`, [], (exports) => {
    exports[`handle${kind}SimpleReceipt`] = async () => {};
  });
}

__d('WAWebHandleSingleMsg', [], (exports) => {
  exports.handleSingleMsg = async (_chat, raw) => require('SandboxHistory').place(raw);
});

__d('WAWebUpdateUnreadChatAction', [], (exports) => {
  exports.sendSeen = async ({ chat }) => {
    chat.set('unreadCount', 0);
    require('SandboxLine').say({ t: 'seen', chat: String(chat.id) });
  };
  exports.markUnread = async (chat) => chat.set('unreadCount', -1);
});
