// Chats, contacts and groups in memory.
__d('WAWebChatModel', [], (exports) => {
  const { BaseModel, named } = require('WAWebBaseModel');

  exports.Chat = named(
    class Chat extends BaseModel {
      constructor(attributes) {
        super({ unreadCount: 0, archive: false, active: false, ...attributes });
        const hidden = (name, value) => Object.defineProperty(this, name, { value });
        hidden('msgs', new (require('WAWebChatMsgsCollection').ChatMsgsCollection)());
        // wa-js subscribes to the presence of every chat when the page is ready
        hidden('presence', Object.assign(new BaseModel({ id: this.id, isOnline: false }), { subscribe: async () => {} }));
      }

      get lastReceivedKey() {
        return this.msgs.last()?.id;
      }

      get contact() {
        return require('WAWebContactCollection').ContactCollection.get(this.id);
      }

      get groupMetadata() {
        return require('WAWebGroupMetadataCollection').default.get(this.id);
      }

      canSend() {
        return true;
      }
    },
    'chat',
  );
});

__d('WAWebChatCollection', [], (exports) => {
  require('SandboxCollections').fill(exports, 'ChatCollection', { model: require('WAWebChatModel').Chat });
});

__d('WAWebContactModel', [], (exports) => {
  const { BaseModel, named } = require('WAWebBaseModel');
  exports.Contact = named(class Contact extends BaseModel {}, 'contact');
});

__d('WAWebContactCollection', [], (exports) => {
  require('SandboxCollections').fill(exports, 'ContactCollection', { model: require('WAWebContactModel').Contact });
});

__d('WAWebGroupMetadataCollection', [], (exports) => {
  require('SandboxCollections').fill(exports, 'GroupMetadata', { asDefault: true, methods: { _handleParentGroupChange() {} } });
});

// How chats, contacts and groups get into memory.
__d('SandboxChats', [], (exports) => {
  const database = require('SandboxDatabase');
  const people = require('SandboxPeople');
  const Collection = require('WAWebCollection').default;
  const { createWid } = require('WAWebWidFactory');
  const chats = () => require('WAWebChatCollection').ChatCollection;

  // the chat of that id, made and written down if there was none
  exports.open = (id, stored) => {
    const known = chats().get(id);
    if (known) return known;
    const [chat] = chats().add({ t: Math.floor(Date.now() / 1000), isGroup: id.isGroup(), ...stored, id });
    if (!stored) database.write({ store: 'chat', put: { id: String(id), t: chat.t } });
    return chat;
  };

  exports.contact = ({ id, lid, name }) => {
    people.learn(id, lid);
    require('WAWebContactCollection').ContactCollection.add(
      { id: createWid(id), name, pushname: name, isMyContact: true, isBusiness: false, type: 'in' },
      { merge: true },
    );
  };

  class Participants extends Collection {
    iAm() {
      return this.get(people.me.lid);
    }
    iAmMember() {
      return this.iAm() !== undefined;
    }
    iAmAdmin() {
      return this.iAm()?.isAdmin === true;
    }
  }

  // whom we have blocked, under number and LID
  exports.blocked = (entries) => {
    const { BlocklistCollection } = require('WAWebBlocklistCollection');
    for (const entry of BlocklistCollection.getModelsArray()) BlocklistCollection.forget(entry.id);
    for (const { id, lid } of entries) BlocklistCollection.add([{ id: createWid(id) }, { id: createWid(lid) }]);
  };

  // participants stand under their LIDs, as groups are addressed today
  exports.group = ({ id, subject, announce, participants }) => {
    const wid = createWid(id);
    const metadata = require('WAWebGroupMetadataCollection').default;
    metadata.forget(wid);
    const [group] = metadata.add({ id: wid, subject, announce, participants: new Participants() });
    for (const participant of participants) {
      people.learn(participant.id, participant.lid);
      group.participants.add({ id: createWid(participant.lid), phoneNumber: createWid(participant.id), isAdmin: participant.admin });
    }
    exports.open(wid, { name: subject, formattedTitle: subject });
  };

  // a chat that the database knows but memory does not
  exports.stored = (id) => database.get('chat', String(id));
});
