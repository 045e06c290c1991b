// Functions that wa-js looks up or wraps at its start, and behind which there is little or nothing here.
(() => {
  const stub = (id, values) => __d(id, [], (exports) => Object.assign(exports, values));
  const nothing = () => {};
  const later = async () => {};

  stub('WABase64', {
    encodeB64: (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))),
    decodeB64: (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer,
  });
  stub('WATimeUtils', { unixTime: () => Math.floor(Date.now() / 1000), unixTimeMs: () => Date.now() });
  stub('WAMd5', { md5: (text) => text, md5ArrayBufferHex: () => '' });
  stub('WAWebABProps', { getABPropConfigValue: () => 0 });
  stub('WAWebPrimaryFeatures', { primaryFeatureEnabled: () => false });
  stub('WAWebMiscBrowserUtils', {
    default: { id: () => 'sandbox', startDownloading: nothing, info: () => ({}), hardRefresh: () => location.reload() },
  });
  stub('WAWebBackendJobsCommon', { frontendFireAndForget: nothing });

  // links in texts: nothing is fetched for them
  stub('WALinkify', { findFirstWebLink: () => undefined });
  stub('WAWebLinkPreviewChatAction', { getLinkPreview: async () => null });
  stub('WAWebGenMinimalLinkPreview', { genMinimalLinkPreview: async () => null });

  // the way from a message to its encrypted stanza
  stub('WAWebE2EProtoGenerator', { createMsgProtobuf: () => ({}) });
  stub('WAWebE2EProtoUtils', {
    mediaTypeFromProtobuf: () => null,
    typeAttributeFromProtobuf: () => 'text',
    encodeMaybeMediaType: (type) => type,
  });
  stub('WAWebEncryptAndSendMsg', { encryptAndSendMsg: async () => null, encryptAndSendStatusMsg: async () => null });
  stub('WAWebSendMsgCreateFanoutStanza', { createFanoutMsgStanza: async () => ({}) });
  stub('WAWebCreateChatRecord', { createChatRecord: async () => ({}) });

  stub('WAWebChatPresenceBridge', {
    markComposing: later,
    markPaused: later,
    markRecording: later,
    sendPresenceAvailable: nothing,
    sendPresenceUnavailable: nothing,
  });
  stub('WAWebHistorySyncProgressGetters', { getHistorySyncProgressModel: () => ({ realProgress: 100, remainingPausedSeconds: 0 }) });
  stub('WAWebDBUpdateGroup', { updateDBForGroupAction: later });
  stub('WAWebPollsVotesDb', { upsertVotesDb: later });
  stub('WAWebLabelUtils', {
    addToLabelCollection: nothing,
    removeLabelFromCollection: nothing,
    createLabelItemId: nothing,
    getParentCollection: nothing,
    initializeLabels: nothing,
  });
  stub('WAWebChatPinUtils', { getNumChatsPinned: () => 0 });
  stub('WAWebInboxFilters', { isFilterExcludedFromSearchTreatmentInInboxFlow: () => false });
  stub('WAWebChatSearchQuery', {
    SearchQuery: class SearchQuery {
      updateLabelQuery(filter) {
        this.filter = filter;
      }
    },
  });
})();
