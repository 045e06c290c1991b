// Changes of messages that exist: reactions, edits, revocations.
__d('SandboxChanges', [], (exports) => {
  const ask = (msg, what, text) => require('SandboxLine').ask({ t: 'change', id: msg.id.id, what, text });

  exports.react = async (msg, text) => {
    await ask(msg, 'react', text);
    return { messageSendResult: 'OK' };
  };
  exports.edit = async (msg, raw) => {
    await ask(msg, 'edit', raw.body);
    msg.set({ body: raw.body, latestEditMsgKey: raw.id });
  };
  exports.revoke = async (messages) => {
    for (const msg of messages) {
      await ask(msg, 'revoke');
      msg.set({ type: 'revoked', body: undefined });
    }
  };
});

__d('WAWebSendReactionMsgAction', [], (exports) => {
  exports.sendReactionToMsg = (msg, text) => require('SandboxChanges').react(msg, text);
});

__d('WAWebReactionsModelUtils', [], (exports) => {
  exports.addOrUpdateReactionsModelCollection = () => {};
});

__d('WAWebMsgActionCapability', [], (exports) => {
  exports.canEditMsg = (msg) => msg.id.fromMe && msg.type === 'chat';
  exports.canEditCaption = (msg) => msg.id.fromMe && msg.caption !== undefined;
});

__d('WAWebMsgReply', [], (exports) => {
  exports.canReplyMsg = () => true;
});
