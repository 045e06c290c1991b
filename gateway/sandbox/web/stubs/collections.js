// Collections that wa-js watches and that stay empty here; the list of those whom we have blocked alone is filled by the server.
(() => {
  const collection = (id, name, options) => __d(id, [], (exports) => require('SandboxCollections').fill(exports, name, options));

  collection('WAWebBlocklistCollection', 'BlocklistCollection');
  // without its class: wa-js would take the class for the store
  collection('WAWebPresenceCollection', 'PresenceCollection', { withClass: false });
  collection('WAWebLabelCollection', 'LabelCollection');
  collection('WAWebBotProfileCollection', 'BotProfileCollection');
  collection('WAWebCallCollection', 'CallCollection', { methods: { processIncomingCall() {}, setActiveCall() {} } });
  collection('WAWebTextStatusCollection', 'TextStatusCollection');
  collection('WAWebNewsletterCollection', 'Newsletter', { asDefault: true });
  collection('WAWebStatusCollection', 'StatusCollection', {
    methods: {
      getMyStatus() {
        return { msgs: new (require('WAWebCollection').default)() };
      },
    },
  });
})();
