// Enumerations and constants that wa-js reads.
(() => {
  const constants = (id, values) => __d(id, [], (exports) => Object.assign(exports, values));
  const same = (...names) => Object.fromEntries(names.map((name) => [name, name]));
  const VERSION = '2.3000.1045220589';

  constants('WAWebBuildConstants', { SANITIZED_VERSION_STR: VERSION, VERSION_STR: VERSION, isOfficialClient: true });
  constants('WAWebAck', {
    ACK: { EXPIRED: -2, FAILED: -1, CLOCK: 0, SENT: 1, RECEIVED: 2, READ: 3, PLAYED: 4, PEER: 5 },
    ACK_STRING: { SENDER: 'sender', DELIVERY: 'delivery', READ: 'read', PLAYED: 'played', INACTIVE: 'inactive' },
    EDIT_ATTR: { SENDER_REVOKE: 7, ADMIN_REVOKE: 8 },
  });
  constants('WAWebSocketConstants', {
    SOCKET_STATE: same(
      'OPENING',
      'PAIRING',
      'UNPAIRED',
      'UNPAIRED_IDLE',
      'CONNECTED',
      'TIMEOUT',
      'CONFLICT',
      'UNLAUNCHED',
      'PROXYBLOCK',
      'TOS_BLOCK',
      'SMB_TOS_BLOCK',
      'DEPRECATED_VERSION',
    ),
    SOCKET_STREAM: same('DISCONNECTED', 'SYNCING', 'RESUMING', 'CONNECTED'),
    WATCHED_SOCKET_STATE: {},
  });
  constants('WAWebMsgType', {
    MSG_TYPE: {
      CHAT: 'chat',
      IMAGE: 'image',
      VIDEO: 'video',
      AUDIO: 'audio',
      PTT: 'ptt',
      DOCUMENT: 'document',
      STICKER: 'sticker',
      LOCATION: 'location',
      VCARD: 'vcard',
      REVOKED: 'revoked',
      PROTOCOL: 'protocol',
      CALL_LOG: 'call_log',
    },
    SYSTEM_MESSAGE_TYPES: {},
  });
  constants('WAWebCallEnums', { CALL_STATES: same('INCOMING_RING') });
  constants('WAWebServerPropConstants', { MAX_FILE_SIZE_BYTES: 2 ** 31, DEFAULT_MAX_FILE_SIZE_BYTES: 2 ** 27 });
  constants('WAWebNonJidMentionType', { default: { MENTION_ALL: 1 } });
  constants('WAWap', { DROP_ATTR: Symbol('drop') });
})();
