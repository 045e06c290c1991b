// From hello to MAIN, and back: who this page is logged in as. The profile stores the device's token.
__d('SandboxSession', [], (exports) => {
  const line = require('SandboxLine');
  const database = require('SandboxDatabase');
  const people = require('SandboxPeople');
  const { Conn } = require('WAWebConnModel');
  const { Stream } = require('WAWebStreamModel');
  const { Cmd } = require('WAWebCmd');
  const { BackendEventBus } = require('WAWebBackendEventBus');
  const { createWid } = require('WAWebWidFactory');

  let token = null;
  let started = false;

  exports.registered = () => token !== null;
  exports.loggedIn = () => people.me.pn !== undefined;

  exports.start = async () => {
    token = (await database.get('device', 'token'))?.value ?? null;
    line.connect();
  };

  line.on('open', () => {
    Stream.set('info', 'OPENING');
    line.say({ t: 'hello', token });
  });
  line.on('settings', (m) => require('SandboxSettings').update(m));
  line.on('do', (m) => require('SandboxSettings').happen(m));

  line.on('paired', async (m) => {
    Stream.set('info', 'PAIRING');
    require('SandboxQr').stop();
    await database.write({ store: 'device', put: { key: 'token', value: m.token } });
    token = m.token;
    line.say({ t: 'hello', token });
  });

  line.on('welcome', (m) => {
    Object.assign(people.me, { pn: createWid(m.me), lid: createWid(m.lid), device: m.device });
    people.learn(m.me, m.lid);
    require('SandboxQr').stop();
    Conn.set({ ref: undefined, connected: true, wid: people.me.pn });
    line.state('CONNECTED');
    // a connection that comes back does not leave MAIN; only its info says that it resumes
    Stream.set(started ? { info: 'RESUMING' } : { mode: 'SYNCING', info: 'SYNCING' });
  });

  line.on('sync', async (m) => {
    if (!started) await people.start();
    for (const contact of m.contacts) require('SandboxChats').contact(contact);
    for (const group of m.groups) require('SandboxChats').group(group);
    require('SandboxChats').blocked(m.blocked);
    if (!started) {
      await require('SandboxHistory').start();
      await require('SandboxOutgoing').start();
    }
    started = true;
    Stream.set({ mode: 'MAIN', info: 'NORMAL' });
    if (!Cmd.isMainLoaded) {
      Cmd.set('isMainLoaded', true);
      Cmd.trigger('main_loaded');
    }
    line.ready = true;
    line.say({ t: 'ready' });
    require('SandboxOutgoing').flush();
  });

  line.on('groups', (m) => m.groups.forEach((group) => require('SandboxChats').group(group)));

  line.on('blocklist', (m) => require('SandboxChats').blocked(m.blocked));

  line.on('conflict', () => {
    line.stop();
    line.state('CONFLICT');
    Stream.set({ mode: 'CONFLICT', info: 'OFFLINE' });
  });

  const loggedOut = async () => {
    if (token === null) return;
    token = null;
    require('WAWebLogoutReasonConstants').getErrorCodeFromLogoutReason('user_initiated');
    BackendEventBus.trigger('logout');
    Cmd.trigger('logout');
    Object.assign(people.me, { pn: undefined, lid: undefined, device: undefined });
    Conn.set({ connected: false, wid: undefined });
    Cmd.set('isMainLoaded', false);
    line.stop();
    await database.wipe();
    // listeners have a moment to note it, then the page begins anew
    setTimeout(() => location.reload(), 300);
  };

  // the phone has removed this device, or the server does not know its token
  line.on('bye', () => (token === null ? location.reload() : loggedOut()));

  // asked for on this side; without a line the phone goes on listing the device, as WhatsApp's does
  exports.logout = async () => {
    await line.ask({ t: 'logout' }).catch(() => {});
    await loggedOut();
  };
});
