// Who is who: our own account, and which LID belongs to which number (WhatsApp Web keeps this mapping too).
__d('SandboxPeople', [], (exports) => {
  const database = require('SandboxDatabase');
  const settings = require('SandboxSettings');
  const { createWid } = require('WAWebWidFactory');

  const lids = new Map();
  const pns = new Map();

  // our own account: pn, lid, device (its number); all undefined while logged out
  exports.me = { pn: undefined, lid: undefined, device: undefined };

  const remember = (pn, lid) => {
    lids.set(pn, createWid(lid));
    pns.set(lid, createWid(pn));
  };

  exports.learn = (pn, lid) => {
    if (!lid || String(lids.get(pn)) === lid) return;
    remember(pn, lid);
    database.write({ store: 'people', put: { pn, lid } });
  };

  exports.start = async () => {
    for (const { pn, lid } of await database.all('people')) remember(pn, lid);
  };

  exports.lidOf = (wid) => (wid.isLid() ? wid : lids.get(String(wid)));
  exports.pnOf = (wid) => (wid.isLid() ? pns.get(String(wid)) : wid);
  exports.migrated = () => settings.behaviour.lid_migration === true;

  // the id under which a person's chat stands, as far as it is known without asking
  exports.addressed = (wid) => (wid.isUser() ? ((exports.migrated() ? exports.lidOf(wid) : exports.pnOf(wid)) ?? wid) : wid);
});
