// What a human sees of this page: its state, and the QR code.
__d('SandboxView', [], (exports) => {
  const SAID = {
    QR: 'Scan this code with the sandbox’s phone',
    SYNCING: 'Loading your chats…',
    MAIN: 'Linked. Messages are sent and received here.',
    CONFLICT: 'WhatsApp is open in another window.',
  };

  const show = async () => {
    const { Stream } = require('WAWebStreamModel');
    const { Socket } = require('WAWebSocketModel');
    const { Conn } = require('WAWebConnModel');
    const idle = Socket.state === 'UNPAIRED_IDLE';
    document.getElementById('state').textContent = idle ? 'The code has expired. Ask for a new one.' : (SAID[Stream.mode] ?? 'Starting…');
    document.getElementById('line').textContent = `${Socket.state} · ${Stream.info}`;
    const code = document.getElementById('qr');
    code.hidden = !Conn.ref;
    if (Conn.ref) code.src = `/qr.svg?text=${encodeURIComponent(Conn.ref)}`;
  };

  exports.start = () => {
    require('WAWebStreamModel').Stream.on('change:mode change:info', show);
    require('WAWebSocketModel').Socket.on('change:state', show);
    require('WAWebConnModel').Conn.on('change:ref', show);
    show();
  };
});
