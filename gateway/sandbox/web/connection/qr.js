// The QR code: six refs at once, shown one after the other; after the last one the page is idle until asked.
__d('SandboxQr', [], (exports) => {
  const line = require('SandboxLine');
  const { Conn } = require('WAWebConnModel');
  const { Stream } = require('WAWebStreamModel');

  let timer = null;

  exports.refresh = () => line.say({ t: 'refs' });

  exports.stop = () => {
    clearTimeout(timer);
    timer = null;
  };

  line.on('refs', (m) => {
    exports.stop();
    Stream.set({ mode: 'QR', info: 'NORMAL' });
    show(m.refs, m.first, m.each);
  });

  const show = ([ref, ...rest], seconds, each) => {
    if (ref === undefined) return idle();
    line.state('UNPAIRED');
    Conn.set('ref', ref);
    line.say({ t: 'showing', ref });
    timer = setTimeout(() => show(rest, each, each), seconds * 1000);
  };

  const idle = () => {
    Conn.set('ref', undefined);
    line.state('UNPAIRED_IDLE');
    line.say({ t: 'showing', ref: null });
  };
});
