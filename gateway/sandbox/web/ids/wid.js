// Who: ids of people, groups and devices.
__d('WAWebWid', [], (exports) => {
  const VALID = /^[^@\s]+@(c\.us|g\.us|lid|broadcast|newsletter)$/;

  exports.default = class Wid {
    #text;

    constructor(user, server, device) {
      this.user = user;
      this.server = server;
      if (device !== undefined) this.device = device;
      this.#text = device === undefined ? `${user}@${server}` : `${user}:${device}@${server}`;
    }

    // what others read it by; an update may rename it
    get _serialized() {
      return this.#text;
    }

    static isXWid(server, value) {
      return Wid.isWid(value) && String(value).endsWith(`@${server}`);
    }

    static isWid(value) {
      return value instanceof Wid || VALID.test(String(value));
    }

    static isWidlike(value) {
      return value instanceof Wid;
    }

    toString() {
      return this.#text;
    }

    toJSON() {
      return this.#text;
    }

    toJid() {
      return this.#text.replace('@c.us', '@s.whatsapp.net');
    }

    getJid() {
      return this.toJid();
    }

    getDeviceId() {
      return this.device ?? 0;
    }

    getSignalAddress() {
      return `${this.#text}.${this.getDeviceId()}`;
    }

    equals(other) {
      return other != null && String(other) === this.#text;
    }

    isSameAccountAndAddressingMode(other) {
      return other != null && other.user === this.user && other.server === this.server;
    }

    isUser() {
      return this.server === 'c.us' || this.server === 'lid';
    }

    isRegularUser() {
      return this.isUser();
    }

    isRegularUserPn() {
      return this.server === 'c.us';
    }

    isLid() {
      return this.server === 'lid';
    }

    isGroup() {
      return this.server === 'g.us';
    }

    isNewsletter() {
      return this.server === 'newsletter';
    }

    isBroadcast() {
      return this.server === 'broadcast';
    }

    isStatus() {
      return this.isStatusV3();
    }

    isStatusV3() {
      return this.#text === 'status@broadcast';
    }

    isPSA() {
      return this.#text === '0@c.us';
    }

    isCompanion() {
      return this.device !== undefined && this.device !== 0;
    }

    isServer() {
      return false;
    }

    isBot() {
      return false;
    }

    isHosted() {
      return false;
    }
  };
});

__d('WAWebWidFactory', [], (exports) => {
  const Wid = require('WAWebWid').default;
  const TEXT = /^([^@\s:]+)(?::(\d+))?@([a-z.]+)$/;

  exports.isWidlike = (value) =>
    value instanceof Wid || (!!value && typeof value === 'object' && typeof value.user === 'string' && typeof value.server === 'string');

  exports.createWidFromWidLike = (value) => (value instanceof Wid ? value : new Wid(value.user, value.server, value.device));

  exports.createWid = (value) => {
    if (exports.isWidlike(value)) return exports.createWidFromWidLike(value);
    const [, user, device, server] = TEXT.exec(String(value).replace('@s.whatsapp.net', '@c.us')) ?? [];
    if (!user || !Wid.isWid(`${user}@${server}`)) throw new Error('wid error: invalid wid');
    return new Wid(user, server, device === undefined ? undefined : Number(device));
  };

  exports.createDeviceWid = exports.createWid;
  exports.createUserWidOrThrow = (user, server = 'c.us') => exports.createWid(`${String(user).split('@')[0]}@${server}`);
  exports.createUserWid = exports.createUserWidOrThrow;
  exports.createUserLidOrThrow = (user) => exports.createUserWidOrThrow(user, 'lid');
  exports.asUserWidOrThrow = (wid) => wid;
  exports.asChatWid = (wid) => wid;
  exports.toUserWid = (wid) => new Wid(wid.user, wid.server);
});

__d('WAWebJidConsts', [], (exports) => {
  Object.assign(exports, { STATUS_JID: 'status@broadcast', GROUP_JID: 'g.us', CHAT_JID: 'c.us' });
});
