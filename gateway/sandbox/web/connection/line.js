// The line to the server: one WebSocket, opened again with a growing pause. What the server says is
// obeyed in order; answers to questions do not wait for that order.
__d('SandboxLine', [], (exports) => {
  const { Socket } = require('WAWebSocketModel');
  const { Stream } = require('WAWebStreamModel');
  const { BackendEventBus } = require('WAWebBackendEventBus');
  const network = require('WAWebNetworkStatus').default;

  const FIRST_PAUSE = 250;
  const LONGEST_PAUSE = 10_000;
  // a server that has fallen silent without a goodbye, as behind a pulled cable, is noticed by a ping without an answer
  const PING_EACH = 5_000;
  const PING_WAITS = 10_000;

  const handlers = new Map();
  const questions = new Map();
  let socket = null;
  let failures = 0;
  let timer = null;
  let asked = 0;
  let stopped = false;

  // counts connections: a stanza that went out on an earlier one may be lost
  exports.number = 0;
  // synced on this very connection: messages may go out
  exports.ready = false;

  exports.on = (kind, handler) => handlers.set(kind, handler);

  exports.state = (state) => {
    Socket.set('state', state);
    BackendEventBus.trigger('set_socket_state', state);
  };

  exports.open = () => socket?.readyState === WebSocket.OPEN;
  exports.online = () => exports.open() && exports.ready;

  exports.say = (message) => {
    if (exports.open()) socket.send(JSON.stringify(message));
  };

  // a question with an answer; rejects with the server's error, or when the line is cut
  exports.ask = (message) =>
    new Promise((resolve, reject) => {
      if (!exports.open()) return reject(new Error('not connected'));
      asked += 1;
      questions.set(asked, { resolve, reject });
      exports.say({ ...message, rid: asked });
    });

  const answered = ({ rid, error, ...answer }) => {
    const question = questions.get(rid);
    questions.delete(rid);
    if (error) question?.reject(new Error(error));
    else question?.resolve(answer);
  };

  let order = Promise.resolve();
  const heard = (message) => {
    if (message.rid !== undefined) return answered(message);
    order = order.then(() => handlers.get(message.t)?.(message)).catch((error) => console.error(`sandbox: ${message.t} failed:`, error));
  };

  const ping = async (mine) => {
    const timer = setTimeout(() => {
      mine.onclose = null; // nobody answers a goodbye either
      mine.close();
      if (mine === socket) lost();
    }, PING_WAITS);
    await exports.ask({ t: 'ping' }).catch(() => {});
    clearTimeout(timer);
  };
  setInterval(() => exports.open() && ping(socket), PING_EACH);

  exports.connect = () => {
    if (stopped || (socket && socket.readyState <= WebSocket.OPEN)) return;
    clearTimeout(timer);
    exports.state('OPENING');
    const mine = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws/chat`);
    socket = mine;
    mine.onopen = () => {
      failures = 0;
      exports.number += 1;
      network.set('online', true);
      exports.state('PAIRING');
      handlers.get('open')();
    };
    mine.onmessage = (event) => {
      if (mine === socket) heard(JSON.parse(event.data));
    };
    mine.onclose = () => {
      if (mine === socket) lost();
    };
  };

  const lost = () => {
    socket = null;
    exports.ready = false;
    for (const { reject } of questions.values()) reject(new Error('connection closed'));
    questions.clear();
    if (stopped) return;
    network.set('online', false);
    exports.state('TIMEOUT');
    Stream.set('info', 'OFFLINE');
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** failures) * (0.75 + Math.random() / 4);
    failures += 1;
    timer = setTimeout(exports.connect, pause);
  };

  // someone asks for a fresh connection: drop this one, try at once
  exports.reconnect = () => {
    failures = 0;
    const old = socket;
    if (old) {
      old.onclose = null;
      old.close();
      lost();
    }
    exports.connect();
  };

  // after a stop: this page is the one to be connected again
  exports.resume = () => {
    stopped = false;
    failures = 0;
    exports.connect();
  };

  // no further attempts: another page has taken over, or this one is about to reload
  exports.stop = () => {
    stopped = true;
    clearTimeout(timer);
    socket?.close();
  };
});
