// Messages in memory: the model, the one collection of all, and the collection of each chat.
__d('WAWebMsgModel', [], (exports) => {
  const { BaseModel, named } = require('WAWebBaseModel');

  exports.Msg = named(
    class Msg extends BaseModel {
      // acks never go back; a failure (-1) stands only while nothing was acked
      updateAck(ack) {
        if (ack > (this.ack ?? 0) || (ack < 0 && (this.ack ?? 0) <= 0)) this.set('ack', ack);
      }

      get isSentByMe() {
        return this.id.fromMe;
      }

      get sender() {
        return this.author ?? this.from;
      }

      get senderObj() {
        return { id: this.sender, isMe: this.id.fromMe };
      }

      msgContextInfo() {
        return { quotedMsg: { type: this.type, body: this.body }, quotedStanzaID: this.id.id, quotedParticipant: this.sender };
      }

      async downloadMedia() {
        const answer = await fetch(`/mms/${this.media?.sha256}`);
        if (!answer.ok) throw new Error('media is gone');
        const blob = await answer.blob();
        this.mediaData.mediaBlob = { forceToBlob: () => blob };
        this.mediaData.mediaStage = 'RESOLVED';
      }
    },
    'msg',
  );
  exports.MsgModel = exports.Msg;
});

__d('WAWebMsgCollection', [], (exports) => {
  require('SandboxCollections').fill(exports, 'MsgCollection', {
    model: require('WAWebMsgModel').Msg,
    methods: {
      // every message that arrives passes here; wa-js wraps it
      async processMultipleMessages(_chat, messages) {
        for (const raw of messages) require('SandboxHistory').place(raw);
      },
    },
  });
});

__d('WAWebChatMsgsCollection', [], (exports) => {
  const Collection = require('WAWebCollection').default;
  exports.ChatMsgsCollection = class ChatMsgsCollection extends Collection {
    constructor() {
      super(require('WAWebMsgModel').Msg);
      this.loadAroundPromise = Promise.resolve();
    }
  };
});

// Looking for a message that is not in memory: wa-js waits for the promise, then looks again.
__d('WAWebSearchContext', [], (exports) => {
  exports.getSearchContext = ({ chat, msgKey }) => {
    const loadAroundPromise = require('SandboxHistory').load(msgKey);
    return { collection: { loadAroundPromise, get: (key) => chat.msgs.get(key) }, key: msgKey, highlightMsg: true };
  };
});

__d('WAWebDBMessageFindLocal', [], (exports) => {
  const find = async ({ anchor, count, direction }) => {
    const history = require('SandboxHistory');
    const row = await history.read(history.sid(anchor));
    if (!row) return { messages: [], status: 404 };
    return { messages: await history.around(row.chat, row.rowId, direction, count), status: 200 };
  };
  const none = async () => ({ messages: [], status: 200 });
  exports.msgFindByDirection = find;
  exports.msgFindBefore = (query) => find({ ...query, direction: 'before' });
  exports.msgFindAfter = (query) => find({ ...query, direction: 'after' });
  Object.assign(exports, { msgFindCallLog: none, msgFindEvents: none, msgFindMedia: none, msgFindSearch: none, msgFindStarred: none });
});
