// Linking without a camera: the eight letters that are typed into the phone.
__d('WAWebAltDeviceLinkingApi', [], (exports) => {
  exports.initializeAltDeviceLinking = async () => {};
  exports.genLinkDeviceCodeForPhoneNumber = async (phone, _notify) => {
    const { code } = await require('SandboxLine').ask({ t: 'pairing_code', phone });
    return code;
  };
});

__d('WAWebLinkDeviceEvents', [], (exports) => {
  const EventEmitter = require('WAWebEventEmitter').default;
  exports.WAWebLinkDeviceEvents = new (class LinkDeviceEvents extends EventEmitter {
    triggerRefreshAltLinkingCode() {
      this.trigger('link_device_events:refresh_alt_linking_code');
    }
  })();
});

// Accounts that must confirm by a passkey: the browser is asked for it after the scan.
__d('SandboxPasskey', [], (exports) => {
  const line = require('SandboxLine');
  const { Stream } = require('WAWebStreamModel');
  const bytes = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));

  exports.start = () =>
    line.on('passkey', (m) => {
      require('SandboxQr').stop();
      Stream.set('info', 'PAIRING');
      ask(bytes(m.challenge)); // not awaited: it may pend for ever, and other news must get through
    });

  const ask = async (challenge) => {
    try {
      const assertion = await navigator.credentials.get({
        publicKey: { challenge, rpId: location.hostname, userVerification: 'required', timeout: 300_000 },
      });
      line.say({ t: 'passkey', assertion: assertion?.id ?? null });
    } catch (error) {
      // refused by the user: back to the QR code. Where the browser cannot ask at all, the page waits, as WhatsApp's does.
      if (error.name === 'NotAllowedError') line.say({ t: 'passkey', assertion: null });
    }
  };
});
