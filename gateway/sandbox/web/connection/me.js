// Who we are: what wa-js asks about the account and about the keys in the QR code.
__d('WAWebLoginStatus', [], (exports) => {
  exports.isLoggedIn = () => require('SandboxSession').loggedIn();
  exports.isRegistered = () => require('SandboxSession').registered();
});

__d('WAWebUserPrefsMeUser', [], (exports) => {
  const { me } = require('SandboxPeople');
  const Wid = require('WAWebWid').default;
  const device = (wid) => (wid ? new Wid(wid.user, wid.server, me.device) : undefined);
  const orThrow = (value) => {
    if (!value) throw new Error('not logged in');
    return value;
  };

  exports.getMaybeMePnUser = () => me.pn;
  exports.getMaybeMeLidUser = () => me.lid;
  exports.getMePnUserOrThrow = () => orThrow(me.pn);
  exports.getMeLidUserOrThrow = () => orThrow(me.lid);
  exports.getMeUser = () => orThrow(me.pn);
  exports.getMaybeMeDevicePn = () => device(me.pn);
  exports.getMaybeMeDeviceLid = () => device(me.lid);
  exports.getMeDevicePnOrThrow = () => orThrow(device(me.pn));
  exports.getMeDeviceLidOrThrow = () => orThrow(device(me.lid));
  exports.isMeAccount = (wid) => !!me.pn && (wid.isSameAccountAndAddressingMode(me.pn) || wid.isSameAccountAndAddressingMode(me.lid));
});

__d('SandboxKeys', [], (exports) => {
  const pair = () => ({ pubKey: crypto.getRandomValues(new Uint8Array(32)).buffer });
  Object.assign(exports, { noise: pair(), identity: pair() });
});

__d('WANoiseInfo', [], (exports) => {
  exports.waNoiseInfo = { get: async () => ({ staticKeyPair: require('SandboxKeys').noise }) };
});

__d('WAWebSignalStoreApi', [], (exports) => {
  exports.waSignalStore = { getRegistrationInfo: async () => ({ identityKeyPair: require('SandboxKeys').identity }) };
});

__d('WAAdvSecret', [], (exports) => {
  const secret = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(32))));
  exports.getADVSecretKey = () => secret;
  exports.setADVSignedIdentity = () => {};
});

__d('WAWebLogoutReason', [], (exports) => {
  Object.assign(exports, { LogoutReason: { UserInitiated: 'user_initiated' }, LOGOUT_REASON_CODE: {} });
});

__d('WAWebLogoutReasonConstants', [], (exports) => {
  exports.getErrorCodeFromLogoutReason = (reason) => reason;
});
