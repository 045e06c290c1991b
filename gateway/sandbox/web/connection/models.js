// The state of the connection, as models that wa-js watches.
__d('SandboxSingletons', [], (exports) => {
  const { BaseModel } = require('WAWebBaseModel');

  // a module with one model: {<Name>: the instance, <Name>Impl: its class}
  exports.fill = (target, name, attributes, methods = {}) => {
    const Impl = class extends BaseModel {};
    Object.assign(Impl.prototype, methods);
    target[`${name}Impl`] = Impl;
    target[name] = new Impl(attributes);
  };
});

__d('WAWebConnModel', [], (exports) => {
  require('SandboxSingletons').fill(exports, 'Conn', {
    ref: undefined,
    connected: false,
    wid: undefined,
    platform: 'android',
    pushname: 'Sandbox',
  });
});

// mode: QR, SYNCING, MAIN, CONFLICT. info: OPENING, PAIRING, SYNCING, NORMAL, OFFLINE.
__d('WAWebStreamModel', [], (exports) => {
  require('SandboxSingletons').fill(exports, 'Stream', { mode: undefined, info: 'OPENING', needsUpdate: false, available: true });
});

// state: OPENING, PAIRING, UNPAIRED, UNPAIRED_IDLE, CONNECTED, TIMEOUT, CONFLICT
__d('WAWebSocketModel', [], (exports) => {
  require('SandboxSingletons').fill(
    exports,
    'Socket',
    { state: 'OPENING', stream: 'DISCONNECTED' },
    {
      logout: () => require('SandboxSession').logout(),
      poke: () => require('SandboxQr').refresh(),
      initConn: () => require('SandboxLine').connect(),
      reconnect: () => require('SandboxLine').reconnect(),
      takeover: () => require('SandboxLine').resume(),
    },
  );
});

__d('WAWebCmd', [], (exports) => {
  require('SandboxSingletons').fill(
    exports,
    'Cmd',
    { isMainLoaded: false },
    {
      refreshQR: () => require('SandboxQr').refresh(),
      sendRevokeMsgs: (_chat, { list }) => require('SandboxChanges').revoke(list),
      sendDeleteMsgs: async (chat, { list }) => list.forEach((msg) => chat.msgs.remove(msg.id)),
      setActiveFilter() {},
      async openChatAt() {},
      async openChatBottom() {},
      async openChatFromUnread() {},
    },
  );
});

__d('WAWebNetworkStatus', [], (exports) => {
  const { BaseModel } = require('WAWebBaseModel');
  exports.default = new (class NetworkStatus extends BaseModel {
    checkOnline() {
      return this.online;
    }
  })({ online: true });
});

__d('WAWebBackendEventBus', [], (exports) => {
  exports.BackendEvent = { LOGOUT: 'logout', SET_SOCKET_STATE: 'set_socket_state' };
  exports.BackendEventBus = new (require('WAWebEventEmitter').default)();
});
