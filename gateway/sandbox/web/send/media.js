// Media: prepared, uploaded, then sent like any message.
__d('WAWebMediaOpaqueData', [], (exports) => {
  exports.default = class OpaqueData {
    static async createFromData(blob, type) {
      return Object.assign(new OpaqueData(), { blob, mime: type });
    }

    type() {
      return this.mime;
    }

    forceToBlob() {
      return this.blob;
    }

    throwIfReleased() {}
  };
});

__d('WAWebPrepRawMedia', [], (exports) => {
  const kindOf = (mime, options) => {
    const [top] = mime.split('/');
    if (options.asSticker) return 'sticker';
    if (options.asDocument || !['image', 'video', 'audio'].includes(top)) return 'document';
    return options.isPtt ? 'ptt' : top;
  };

  exports.MediaPrep = class MediaPrep {
    constructor(kind, data) {
      this.kind = kind;
      this.data = data;
      this.mediaData = { type: kind, mimetype: data.type(), mediaStage: 'INIT' };
    }

    async waitForPrep() {
      return this.mediaData;
    }

    // one parameter: that is how wa-js tells today's form from the older one
    async sendToChat({ options }) {
      const outgoing = require('SandboxOutgoing');
      const raw = {
        ...options.productMsgOptions,
        type: this.kind,
        mimetype: this.data.type(),
        caption: options.caption,
        mediaData: this.mediaData,
      };
      try {
        raw.media = await require('WAWebMediaMmsV4Upload').uploadMedia({ mediaType: this.kind, blob: this.data.forceToBlob() });
      } catch {
        // the message stands in the chat with its red mark, and never went out
        require('SandboxHistory').place({ ...raw, ack: -1 });
        return { messageSendResult: 'ERROR_UPLOAD' };
      }
      this.mediaData.mediaStage = 'RESOLVED';
      this.mediaData.mediaBlob = this.data;
      return outgoing.send(raw).result;
    }
  };
  exports.prepRawMedia = (data, options = {}) => new exports.MediaPrep(kindOf(data.type(), options), data);
  exports.uploadProductImage = async () => {};
});

__d('WAWebMediaMmsV4Upload', [], (exports) => {
  exports.uploadMedia = async ({ blob }) => {
    const answer = await fetch('/mms/upload', { method: 'POST', body: blob });
    if (!answer.ok) throw new Error(`upload failed: ${answer.status}`);
    return answer.json();
  };
});

__d('WAWebMediaGatingUtils', [], (exports) => {
  exports.getUploadLimit = () => 64 * 2 ** 20;
});

__d('WAWebGenerateVideoThumbs', [], (exports) => {
  exports.generateVideoThumbsAndDuration = async () => ({});
});

__d('WAWebProcessRawSticker', [], (exports) => {
  exports.processRawSticker = async (data) => ({ mediaBlob: data });
});
