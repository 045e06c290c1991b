// Finding a chat, and asking the server who is on WhatsApp.
__d('WAWebFindChatAction', [], (exports) => {
  const settings = require('SandboxSettings');
  const people = require('SandboxPeople');
  const chats = require('SandboxChats');
  const collection = () => require('WAWebChatCollection').ChatCollection;
  const known = async (id) => collection().get(id) ?? (await chats.stored(id));

  // the id of the chat with that person: under the LID once the account is migrated, else under the number
  const addressed = async (wid) => {
    if (wid.isGroup()) {
      // rejects with the server's code: 404 if there is no such group, 403 if it is not ours
      if (!require('WAWebGroupMetadataCollection').default.get(wid))
        chats.group((await require('SandboxLine').ask({ t: 'group', id: String(wid) })).group);
      return wid;
    }
    if (!wid.isUser()) return wid;
    const guess = people.addressed(wid);
    const settled = guess.isLid() === people.migrated();
    if (settled && ((await known(guess)) || require('WAWebContactCollection').ContactCollection.get(people.pnOf(guess) ?? guess)))
      return guess;
    const found = await require('WAWebQueryExistsJob').queryWidExists(wid);
    if (!found) throw new Error(`chat not found: ${wid} is not on WhatsApp`);
    return people.addressed(found.wid);
  };

  exports.findOrCreateLatestChat = async (wid, _origin) => {
    await settings.delayed('slow_chat_lookup', wid);
    const id = await addressed(wid);
    const stored = collection().get(id) ? undefined : await chats.stored(id);
    const created = !collection().get(id) && !stored;
    const { t, ...rest } = stored ?? {};
    const chat = chats.open(id, stored && { ...rest, t });
    return { chat: { id: chat.id }, created };
  };
  exports.findChat = async (wid) => collection().get((await exports.findOrCreateLatestChat(wid)).chat.id);
  exports.findExistingChat = async (wid) => collection().get(wid);
});

__d('WAWebQueryExistsJob', [], (exports) => {
  const people = require('SandboxPeople');
  const { createWid } = require('WAWebWidFactory');

  // null if nobody is there; the wid may be another than was asked for. Rejects if the server cannot say.
  exports.queryWidExists = async (wid) => {
    const { found } = await require('SandboxLine').ask({ t: 'exists', wid: String(wid) });
    if (!found) return null;
    people.learn(found.pn, found.lid);
    return { wid: createWid(wid.isLid() ? found.lid : found.pn), biz: false };
  };
  exports.queryPhoneExists = (phone) => exports.queryWidExists(createWid(`${phone}@c.us`));
});

__d('WAWebApiContact', [], (exports) => {
  const people = require('SandboxPeople');
  exports.getCurrentLid = (wid) => people.lidOf(wid);
  exports.getPhoneNumber = (wid) => people.pnOf(wid);
});

__d('WAWebLidPnCache', [], (exports) => {
  const people = require('SandboxPeople');
  exports.lidPnCache = { getCurrentLid: (wid) => people.lidOf(wid), getPhoneNumber: (wid) => people.pnOf(wid) };
});

__d('WAWebLid1X1MigrationUtils', [], (exports) => {
  exports.Lid1X1MigrationUtils = {
    isLidMigrated: () => require('SandboxPeople').migrated(),
    isSyncdSessionMigrated: () => require('SandboxPeople').migrated(),
    shouldApplyNonMigratedMessagingRules: () => !require('SandboxPeople').migrated(),
  };
});
