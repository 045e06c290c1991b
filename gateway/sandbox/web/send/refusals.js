// Messages that WhatsApp Web refuses by itself: nothing goes out for them, in whichever form the refusal comes.
__d('SandboxRefusals', [], (exports) => {
  const settings = require('SandboxSettings');
  const database = require('SandboxDatabase');
  const history = require('SandboxHistory');
  const { SendMsgResult } = require('WAWebSendMsgResultAction');

  const SENTENCES = { ContactBlocked: 'Contact is blocked', NotAnAdmin: 'Only admins can send messages' };

  const closed = (id) => {
    if (!id.isGroup()) return require('WAWebBlocklistCollection').BlocklistCollection.get(id) && 'ContactBlocked';
    const group = require('WAWebGroupMetadataCollection').default.get(id);
    return group?.announce && !group.participants.iAmAdmin() && 'NotAnAdmin';
  };

  // how a message into that chat is refused, {form, error}; undefined if it is not
  exports.of = (chat, raw) => {
    const fault = settings.hit('refusal', raw.body, raw.caption, String(chat.id));
    if (fault) return fault;
    const error = closed(chat.id);
    return error ? { form: settings.behaviour.refuses, error } : undefined;
  };

  // what addAndSendMsgToChat answers then; `unsent` is not noted, so no later document sends it
  exports.answer = async ({ form, error }, raw) => {
    const thrown = Object.assign(new Error(SENTENCES[error] ?? error), { name: error });
    if (form === 'throws') throw thrown;
    const msg = history.place(raw);
    await database.write({ store: 'message', put: { ...history.row(raw), ack: form === 'silence' ? 0 : -1 } });
    if (form === 'silence') return [Promise.resolve(msg), new Promise(() => {})];
    const failed = new Promise((resolve) => setTimeout(resolve, 20)).then(() => msg.updateAck(-1));
    const result = failed.then(() => {
      if (form === 'later') throw thrown;
      return { messageSendResult: SendMsgResult.ERROR_UNKNOWN };
    });
    result.catch(() => {});
    return [Promise.resolve(msg), result];
  };
});
