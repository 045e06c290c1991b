// Which message: fromMe, chat, stanza id, and in groups the participant who sent it.
__d('WAWebMsgKey', [], (exports) => {
  const { createWid } = require('WAWebWidFactory');

  exports.default = class MsgKey {
    constructor(parts) {
      if (!parts) throw new Error('MsgKey error: obj is null/undefined');
      this.fromMe = parts.fromMe ?? parts.selfDir === 'out';
      this.remote = createWid(parts.remote ?? (this.fromMe ? parts.to : parts.from));
      this.id = parts.id;
      if (parts.participant) this.participant = createWid(parts.participant);
      if (parts.selfDir) this.self = parts.selfDir;
      // cached under a minified name, as WhatsApp does since July 2026: nobody may read it by that name
      this.$1 = [this.fromMe, this.remote, this.id, this.participant]
        .filter((part) => part !== undefined)
        .map(String)
        .join('_');
    }

    static newId() {
      const random = crypto.getRandomValues(new Uint8Array(9));
      return `3EB0${[...random]
        .map((byte) => byte.toString(16).padStart(2, '0'))
        .join('')
        .toUpperCase()}`;
    }

    static fromString(text) {
      const [fromMe, remote, id, participant] = String(text).split('_');
      if (!id) throw new Error(`MsgKey error: cannot parse ${text}`);
      return new MsgKey({ fromMe: fromMe === 'true', remote, id, participant });
    }

    static from(value) {
      return value instanceof MsgKey ? value : MsgKey.fromString(value);
    }

    toString() {
      return this.$1;
    }

    equals(other) {
      return other != null && String(other) === String(this);
    }

    clone() {
      return MsgKey.fromString(String(this));
    }
  };
});
