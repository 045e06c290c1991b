// @ts-check
/**
 * The gateway's own code inside WhatsApp's page, and the only place that names a function of wa-js.
 *
 * It keeps a ledger of what was handed over and an outbox of what happened, fenced by epoch, so that a host may
 * die, come back, or wake up late without a message going out twice. It can be replaced in a living page:
 * `state` is kept, listeners are taken off and put on again. A new document begins with a new `generation`.
 *
 * Everything is asked through `call(name, args)`, which answers a JSON value and never throws: what was refused
 * is `{refused: {code, text}}`, what went wrong unexpectedly `{error: {code, text}}`.
 */
(() => {
  'use strict';
  if (window !== window.top) return;

  /** @typedef {typeof import('@wppconnect/wa-js')} Wpp */
  /**
   * A call of `send`. `handed`: it has reached WhatsApp's own code. `hangs`: it was answered as failed while wa-js was still at it.
   * @typedef {{state: 'running' | 'placed' | 'failed', since: number, handed: boolean, hangs: boolean, answer: Promise<object> | null}} Call
   */
  /** @typedef {{seq: number, kind: 'ack' | 'nack' | 'refused' | 'logout', hex: string | null, ack: number, code: number | null, why: string | null, at: number}} News */
  /** `ends` is performance.now(), `until` wall-clock milliseconds. @typedef {{phone: string, ends: number, until: number, answer: Promise<{code: string, expires_at: number}>}} Pairing */
  /** @typedef {{epoch: number, attachment: number}} Holder */
  /** @typedef {Holder & {generation: string, account: string, hex: string, key: string, remote: string, type: string, content: any, again: boolean, patience: number}} Order */
  /** @typedef {{hex: string, chats: string[], keys: string[], witness: string[]}} Sought */

  const NAME = '__whatsappGateway';
  /** page.py writes the hash of this file here. */
  const VERSION = 'unversioned';
  /** Events kept at most; beyond it the oldest goes, and `overflows` tells the host to reconcile until it says that it has heard. */
  const EVENTS = 10_000;
  /** Milliseconds that one question to WhatsApp's code may take inside a bigger call. */
  const PATIENCE = 5_000;
  /** Milliseconds for all questions about one message. */
  const LOOK = 12_000;
  /** Milliseconds in which WhatsApp answers with a pairing code. */
  const PAIRING = 12_000;
  /** Milliseconds between ack −1 and our report of it: the result with its code comes a moment later. */
  const CODE_DELAY = 50;
  /** Milliseconds within which WhatsApp's code marks a message as failed for which it threw. */
  const MARKED = 1_000;
  /** Characters of what WhatsApp's code said of a refusal. */
  const WHY = 200;
  /** Presses that one dialog gets; one that outlasts them is for a person. */
  const PRESSES = 3;
  /** Dialogs reported at once, characters of each heading, and of what the canary says: the host's beat file has a fixed size. */
  const DIALOGS = 2;
  const HEADING = 60;
  const CANARY = 200;
  /**
   * Dialogs that WhatsApp Web is known to lay over its page, by heading, and the buttons that say no more than "read".
   * In English, which Chromium's flags ask for. Left alone, "What's new" has ended in a logout after minutes
   * (OpenWA#982). No button that decides something is here, and none of a dialog that is not is ever pressed.
   * @type {[heading: RegExp, buttons: string[]][]}
   */
  const KNOWN_DIALOGS = [
    [/^what.s new\b|\b(fresh|new) look\b/i, ['continue', 'ok', 'got it', 'done']],
    [/\bupdate available\b|\bnew version\b/i, ['not now', 'later']],
    [/\bkeep your phone (connected|online)\b/i, ['ok', 'got it']],
  ];

  const page = /** @type {any} */ (window);

  /** An expected refusal. */
  class Refused extends Error {
    /** @param {string} code @param {string} text */
    constructor(code, text) {
      super(text);
      this.code = code;
    }
  }

  const old = page[NAME];
  const state = Object.assign(
    {
      generation: [...crypto.getRandomValues(new Uint8Array(8))].map((b) => b.toString(16).padStart(2, '0')).join(''),
      attached: false,
      epoch: 0,
      attachment: 0,
      /** @type {Map<string, Call>} */
      calls: new Map(),
      /** @type {Map<string, News>} */
      events: new Map(),
      seq: 0,
      /** how often an event was dropped, and how many of those the host has heard of */
      overflows: 0,
      overflowsHeard: 0,
      /** nack codes by hex, until the message is forgotten @type {Map<string, number | null>} */
      codes: new Map(),
      /** what WhatsApp's code threw for a message that it had taken, by hex, until it is forgotten @type {Map<string, string>} */
      refusals: new Map(),
      drops: 0,
      connected: false,
      /** since when MAIN, NORMAL and CONNECTED hold without a break, as performance.now() @type {number | null} */
      steadySince: null,
      passkeys: 0,
      credentialsWrapped: false,
      /** the pairing code that may be typed into a phone now @type {Pairing | null} */
      pairing: null,
      /** names of the page's databases that Chromium closed under it @type {Set<string>} */
      lostStorage: new Set(),
      storageWatched: false,
      /** how often we pressed a dialog's button @type {WeakMap<Element, number>} */
      presses: new WeakMap(),
    },
    old?.state,
  );

  /** What puts the page back as it was, when this bridge is replaced. @type {(() => void)[]} */
  const undo = [];
  /** Long polls that wait for news. @type {Set<() => void>} */
  const waiters = new Set();
  /** Parts of the page that are being listened to. @type {Set<string>} */
  const hooked = new Set();

  /** @returns {Wpp} */
  const wpp = () => {
    if (!page.WPP) throw new Refused('no_library', 'wa-js is not in this document');
    return page.WPP;
  };

  /** @param {unknown} error @returns {{code: string, text: string}} */
  const described = (error) => {
    const { code, name, message } = /** @type {any} */ (error ?? {});
    const text = String(message ?? error);
    return { code: String(code ?? 'page_error'), text: (name && name !== 'Error' ? `${name}: ${text}` : text).slice(0, 500) };
  };

  /** The promise, or a failure with the code `deadline`. @template T @param {Promise<T>} promise @param {number} [ms] @returns {Promise<T>} */
  const within = (promise, ms = PATIENCE) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Refused('deadline', `no answer within ${ms} ms`)), ms);
      promise.then(resolve, reject).finally(() => clearTimeout(timer));
    });

  /** A value, or null where WhatsApp's code throws because it is not that far yet. @template T @param {() => T} read @returns {T | null} */
  const maybe = (read) => {
    try {
      return read() ?? null;
    } catch {
      return null;
    }
  };

  /** A wid without its device, as text; null for nothing. @param {unknown} wid */
  const bare = (wid) => (wid ? String(wid).replace(/:\d+(?=@)/, '') : null);
  /** The hex part of a message key. @param {unknown} key */
  const hexOf = (key) => String(key).split('_')[2] ?? '';

  const account = () => bare(maybe(() => wpp().conn.getMyUserId()));
  const authenticated = () => maybe(() => wpp().conn.isAuthenticated()) === true;

  // -- the outbox of events

  /** @param {News['kind']} kind @param {string | null} hex @param {number} ack @param {number | null} code @param {string | null} [why] */
  const record = (kind, hex, ack, code, why = null) => {
    const name = `${kind}:${hex}`;
    const known = state.events.get(name);
    if (known && kind === 'ack' && known.ack >= ack) return;
    state.events.delete(name);
    state.seq += 1;
    state.events.set(name, { seq: state.seq, kind, hex, ack, code, why, at: Date.now() / 1000 });
    if (state.events.size > EVENTS) {
      const [oldest] = state.events.keys();
      if (oldest !== undefined) state.events.delete(oldest);
      state.overflows += 1;
    }
    for (const wake of waiters) wake();
  };

  /** @param {string} hex @param {unknown} ack @param {unknown} [remote] the chat's id */
  const acked = (hex, ack, remote) => {
    if (typeof ack !== 'number') return;
    if (ack >= 1) record('ack', hex, ack, null);
    else if (ack < 0) setTimeout(() => record('nack', hex, -1, state.codes.get(hex) ?? null, reasonOf(hex, remote)), CODE_DELAY);
  };

  // -- what WhatsApp refuses by itself

  /** Why, by the page's own memory, nothing can be sent into a chat; null where it knows no reason, or is not sure. @param {any} id */
  const closed = (id) =>
    maybe(() => {
      const { whatsapp, blocklist } = wpp();
      if (String(id).endsWith('@g.us')) {
        const group = whatsapp.GroupMetadataStore.get(id);
        // without our own entry the list of participants is not there yet
        const member = group?.participants.iAmMember() === true;
        return member && group?.announce === true && group.participants.iAmAdmin() === false ? 'not_an_admin' : null;
      }
      const api = /** @type {any} */ (whatsapp.ApiContact);
      const wid = whatsapp.WidFactory.createWid(String(id));
      const other = maybe(() => (String(id).endsWith('@lid') ? api.getPhoneNumber(wid) : api.getCurrentLid(wid)));
      return blocklist.isBlocked(wid) || (other && blocklist.isBlocked(other)) ? 'contact_blocked' : null;
    });

  /** What is known of why WhatsApp's code refused a message that it had taken. @param {string} hex @param {unknown} remote */
  const reasonOf = (hex, remote) => state.refusals.get(hex) ?? (remote ? closed(remote) : null);

  /** The ack that the page shows for a message of ours, null if it has none of that id. @param {string} hex @returns {number | null} */
  const ackOf = (hex) => maybe(() => wpp().whatsapp.MsgStore.findFirst((m) => m.id?.fromMe && hexOf(m.id) === hex)?.ack ?? null);

  /** The same, once it is marked as failed, or as it is after MARKED ms. @param {string} hex */
  const ackAfterRefusal = async (hex) => {
    const until = performance.now() + MARKED;
    while (ackOf(hex) === 0 && performance.now() < until) await new Promise((done) => setTimeout(done, CODE_DELAY));
    return ackOf(hex);
  };

  // -- listening to WhatsApp

  /** Put one part on, once; it stays off, and is tried again, while the page is not that far. @param {string} name @param {() => (() => void)} put */
  const hook = (name, put) => {
    if (hooked.has(name)) return;
    const off = maybe(put);
    if (off === null) return;
    hooked.add(name);
    undo.push(off);
  };

  /** Listen to a model or a collection. @param {any} source @param {string} names @param {(...args: any[]) => void} listener */
  const listen = (source, names, listener) => {
    if (typeof source?.on !== 'function') throw new Error('not there yet');
    source.on(names, listener);
    return () => source.off(names, listener);
  };

  const note = () => {
    const socket = maybe(() => wpp().whatsapp.Socket.state);
    const stream = maybe(() => wpp().whatsapp.Stream);
    const connected = socket === 'CONNECTED';
    if (state.connected && !connected) state.drops += 1;
    state.connected = connected;
    const steady = connected && stream?.mode === 'MAIN' && stream?.info === 'NORMAL';
    if (!steady) state.steadySince = null;
    else state.steadySince ??= performance.now();
  };

  /** @param {any} module */
  const sends = (module) => typeof module?.addAndSendMsgToChat === 'function';
  /** @type {any} */
  let sendModule = null;
  /** @type {any} */
  let wrapper = null;
  /** Whether each message that goes out passes our wrapper. */
  const watched = () => wrapper !== null && sendModule.addAndSendMsgToChat === wrapper;

  /**
   * Wrap the function through which all messages go: it tells when a call of ours has reached WhatsApp's own
   * code, and it has the result with the nack's code, which wa-js drops unless it waits for the ack.
   * It lets each call of ours through once. One that arrives after it was answered as failed is turned back.
   */
  const watchSending = () => {
    const module = /** @type {any} */ (wpp().loader.search(sends, false, /SendMsg/));
    if (!sends(module)) throw new Error('not there yet');
    const original = module.addAndSendMsgToChat;
    sendModule = module;
    wrapper = /** @this {any} @param {any[]} args */ function (...args) {
      const hex = hexOf(args[1]?.id);
      const call = state.calls.get(hex);
      if (call && (call.handed || call.state === 'failed')) throw new Refused('given_up', 'this call was given up, or another one of this id went first');
      if (call) call.handed = true;
      const answer = original.apply(this, args);
      Promise.resolve(answer)
        .then((pair) => pair?.[1])
        .then((result) => {
          if (!result || result.messageSendResult === 'OK') return;
          state.codes.set(hex, typeof result.errorCode === 'number' ? result.errorCode : null);
        })
        .catch(async (error) => {
          const said = /** @type {any} */ (await call?.answer);
          if (said?.status !== 'placed') return; // then the call itself has answered what was thrown
          const why = described(error).text.slice(0, WHY);
          state.refusals.set(hex, why);
          const ack = await ackAfterRefusal(hex);
          if (ack === null || ack < 0) record('refused', hex, -1, null, why);
        });
      return answer;
    };
    module.addAndSendMsgToChat = wrapper;
    return () => {
      if (watched()) module.addAndSendMsgToChat = original;
    };
  };

  const hookAll = () => {
    const w = page.WPP;
    if (!w?.isInjected) return;
    hook('socket', () => listen(wpp().whatsapp.Socket, 'change:state', note));
    hook('mode', () => listen(wpp().whatsapp.Stream, 'change:mode', note));
    hook('info', () => listen(wpp().whatsapp.Stream, 'change:info', note));
    hook('acks', () =>
      listen(wpp().whatsapp.MsgStore, 'change:ack', (/** @type {any} */ m) => {
        if (m?.id?.fromMe) acked(hexOf(m.id), m.ack, m.id.remote);
      }),
    );
    // receipts for messages that are not in memory; in a group one participant's receipt is not yet everybody's
    hook('receipts', () => {
      const listener = (/** @type {any} */ e) => {
        if (!String(e.chat).endsWith('@g.us')) for (const id of e.ids) acked(hexOf(id), e.ack);
      };
      wpp().on('chat.msg_ack_change', listener);
      return () => wpp().off('chat.msg_ack_change', listener);
    });
    // WhatsApp wants another pairing code, or knows that this one has failed: it links no phone any more
    for (const event of /** @type {const} */ (['refresh_alt_linking_code', 'force_manual_refresh', 'error_alt_linking'])) {
      hook(event, () => listen(wpp().whatsapp.LinkDeviceEvents, `link_device_events:${event}`, endPairing));
    }
    hook('logout', () => {
      const listener = () => {
        endPairing();
        record('logout', null, 0, null);
      };
      wpp().on('conn.logout', listener);
      return () => wpp().off('conn.logout', listener);
    });
    if (w.isReady) hook('sending', watchSending);
    note();
  };

  // -- fence

  /** Raises Refused for a host that has a successor. @param {Holder} a */
  const current = (a) => {
    if (!state.attached) throw new Refused('never_attached', 'no host has attached to this document');
    if (a.epoch !== state.epoch) throw new Refused('stale_host', `epoch ${a.epoch} has given way to ${state.epoch}`);
  };

  /** A call that was given up on must not arrive late: an attachment ends all that were made under earlier ones. @param {Order} a */
  const fence = (a) => {
    current(a);
    if (a.attachment !== state.attachment) throw new Refused('stale_call', `attachment ${a.attachment} has given way to ${state.attachment}`);
    if (a.generation !== state.generation) throw new Refused('other_document', 'the page has loaded anew since');
    if (a.account !== account()) throw new Refused('other_account', 'another account is logged in');
  };

  // -- what can be asked

  /** @param {Holder} a */
  const attach = (a) => {
    const older = a.epoch < state.epoch || (a.epoch === state.epoch && a.attachment < state.attachment);
    if (state.attached && older) throw new Refused('stale_host', `epoch ${a.epoch} is older than ${state.epoch}`);
    Object.assign(state, { attached: true, epoch: a.epoch, attachment: a.attachment });
    hookAll();
    return { generation: state.generation, version: VERSION };
  };

  // On a full disk Chromium closes the page's databases under it, and WhatsApp Web stores nothing more until it is loaded
  // anew. The event `close` tells that, and nothing else does: it does not come where the page itself closes one.
  if (!state.storageWatched) {
    state.storageWatched = true;
    const { lostStorage } = state;
    const { open } = IDBFactory.prototype;
    IDBFactory.prototype.open = /** @this {IDBFactory} @param {[name: string, version?: number]} args */ function (...args) {
      const request = open.apply(this, args);
      request.addEventListener('success', () => {
        const { name } = request.result;
        lostStorage.delete(name);
        request.result.addEventListener('close', () => lostStorage.add(name));
      });
      return request;
    };
  }

  /** The first thing the bridge needs that is not as it should be; asks WhatsApp's server nothing. */
  const canary = () => {
    if (state.lostStorage.size) return 'storage lost: Chromium closed the page’s database, as it does on a full disk; it must be loaded anew';
    const w = wpp();
    const needed = {
      'chat.find': w.chat.find,
      'chat.sendTextMessage': w.chat.sendTextMessage,
      'chat.getMessageById': w.chat.getMessageById,
      'chat.generateMessageID': w.chat.generateMessageID,
      'contact.queryExists': w.contact.queryExists,
      'conn.getMyUserId': w.conn.getMyUserId,
      addAndSendMsgToChat: w.whatsapp.functions.addAndSendMsgToChat,
      findOrCreateLatestChat: w.whatsapp.functions.findOrCreateLatestChat,
    };
    for (const [name, value] of Object.entries(needed)) if (typeof value !== 'function') return `${name} is gone`;
    if (!watched()) return 'addAndSendMsgToChat cannot be watched';
    const me = account();
    if (me === null || !/^\d+@(c\.us|lid)$/.test(me)) return 'our own id has a strange form';
    const key = `true_${me}_3EB0C0FFEE`;
    if (String(w.whatsapp.MsgKey.fromString(key)) !== key) return 'a message key does not come back as it went in';
    const message = w.whatsapp.MsgStore.findFirst((m) => m.id?.fromMe);
    if (message && !/^true_[^_]+@[^_]+_[^_]+/.test(String(message.id))) return 'a message’s key has a strange form';
    if (message && typeof message.ack !== 'number') return 'a message has no ack';
    return null;
  };

  /** What lies over the page: heading (never the text, which may be a message's), and the button that dismisses it. */
  const dialogs = () =>
    [...document.querySelectorAll('[role="dialog"], [role="alertdialog"]')]
      .filter((dialog) => dialog.getClientRects().length > 0)
      .slice(0, DIALOGS)
      .map((dialog) => {
        const heading = dialog.querySelector('h1, h2, [role="heading"]')?.textContent || dialog.getAttribute('aria-label');
        const title = (heading ?? '').trim().slice(0, HEADING) || 'without a heading';
        const words = KNOWN_DIALOGS.find(([known]) => known.test(title))?.[1] ?? [];
        const buttons = /** @type {HTMLElement[]} */ ([...dialog.querySelectorAll('button, [role="button"]')]);
        const button = buttons.find((each) => words.includes((each.textContent ?? '').trim().toLowerCase())) ?? null;
        return { title, dialog, button: (state.presses.get(dialog) ?? 0) < PRESSES ? button : null };
      });

  /** Press what is known to mean no more than "read". @param {Holder} a */
  const dismiss = (a) => {
    current(a);
    const known = dialogs().filter(({ button }) => button !== null);
    for (const { dialog, button } of known) {
      state.presses.set(dialog, (state.presses.get(dialog) ?? 0) + 1);
      button?.click();
    }
    return { dismissed: known.map(({ title }) => title) };
  };

  /** "Use here": another window speaks for our device, and this one is to. @param {Holder} a */
  const takeover = (a) => {
    current(a);
    wpp().whatsapp.Socket.takeover();
    return {};
  };

  const probe = () => {
    hookAll();
    const w = /** @type {Wpp | undefined} */ (page.WPP);
    const ready = w?.isFullReady === true;
    const login = w?.isInjected === true && authenticated();
    let broken = null;
    if (ready && login) {
      try {
        broken = canary();
      } catch (error) {
        broken = described(error).text.slice(0, CANARY);
      }
    }
    const running = [...state.calls.values()].filter((c) => c.state === 'running' || c.hangs).map((c) => c.since);
    return {
      generation: state.generation,
      version: VERSION,
      epoch: state.attached ? state.epoch : null,
      attachment: state.attachment,
      url: location.href,
      loaded: document.readyState !== 'loading',
      library: w?.version ?? null,
      ready,
      authenticated: login,
      socket: maybe(() => w?.whatsapp.Socket.state),
      mode: maybe(() => w?.whatsapp.Stream.mode),
      info: maybe(() => w?.whatsapp.Stream.info),
      account: login ? account() : null,
      lid: login ? bare(maybe(() => w?.conn.getMyUserLid())) : null,
      device: login ? maybe(() => String(w?.whatsapp.UserPrefs.getMaybeMeDevicePn() ?? w?.whatsapp.UserPrefs.getMaybeMeDeviceLid())) : null,
      qr: maybe(() => Boolean(w?.whatsapp.Conn.ref)) === true,
      passkey: state.passkeys > 0,
      canary: broken,
      steady: state.steadySince === null ? null : (performance.now() - state.steadySince) / 1000,
      drops: state.drops,
      dialogs: dialogs().map(({ title, button }) => ({ title, known: button !== null })),
      events: state.events.size,
      overflowed: state.overflows > state.overflowsHeard,
      running: running.length ? (performance.now() - Math.min(...running)) / 1000 : null,
    };
  };

  const qr = async () => {
    if (authenticated()) throw new Refused('already_linked', 'a phone is linked, so there is no QR code');
    const { conn, whatsapp } = wpp();
    let code = await within(conn.getAuthCode());
    if (!code && whatsapp.Socket.state === 'UNPAIRED_IDLE') code = await within(conn.refreshQR());
    if (!code) throw new Refused('no_qr', 'WhatsApp shows no QR code yet: try again in a moment');
    return { code: code.fullCode };
  };

  const endPairing = () => {
    state.pairing = null;
  };

  /**
   * A code to type into the phone of that number. WhatsApp knows one at a time: while one is valid the same one is answered, also to
   * who asks at the same moment, since another would end it under the person who types it. `life` is in ms from when we have it.
   * @param {{phone: string, life: number}} a
   */
  const pairing = async ({ phone, life }) => {
    hookAll();
    if (authenticated()) {
      endPairing();
      throw new Refused('already_linked', 'a phone is linked already');
    }
    const known = state.pairing;
    if (known && performance.now() < known.ends && Date.now() < known.until) {
      if (known.phone === phone) return known.answer;
      const until = new Date(known.until).toISOString();
      throw new Refused(
        'pairing_code_of_another_number',
        `a code for another number is valid until ${until}: let it be typed, ask again then, or restart the session, which ends it`,
      );
    }
    const made = (/** @type {string} */ code) => {
      begun.ends = performance.now() + life;
      begun.until = Date.now() + life;
      return { code, expires_at: begun.until / 1000 };
    };
    const answer = within(wpp().conn.genLinkDeviceCodeForPhoneNumber(phone), PAIRING).then(made);
    /** @type {Pairing} */
    const begun = { phone, ends: performance.now() + PAIRING + life, until: Date.now() + PAIRING + life, answer };
    state.pairing = begun;
    try {
      return await answer;
    } catch (error) {
      if (state.pairing === begun) endPairing();
      throw error;
    }
  };

  /** The chat as a send would find it, and the form of our keys in it. @param {string | import('@wppconnect/wa-js').whatsapp.Wid} wid */
  const place = async (wid) => {
    const { chat } = wpp();
    const found = await within(chat.find(wid), 15_000);
    const key = String(await within(chat.generateMessageID(found))).split('_');
    return { remote: String(found.id), participant: key[3] ?? null };
  };

  /**
   * WhatsApp's own answer, past wa-js, which says null for an error too and remembers it for 15 s. Throws if the question failed.
   * @param {string} address @param {number} [ms]
   */
  const askServer = async (address, ms = 15_000) => {
    const { functions, WidFactory } = wpp().whatsapp;
    const answer = await within(functions.queryWidExists(WidFactory.createWid(address)), ms);
    return answer?.wid ? { wid: answer.wid, lid: null } : null;
  };

  /**
   * Whether WhatsApp's server knows of somebody at an address. Throws if it says nothing within `patience` ms.
   * @param {{address: string, patience: number}} a
   */
  const knows = async ({ address, patience }) => ({ known: (await askServer(address, patience)) !== null });

  /** Which kind of absence an error of WhatsApp's code about a group tells of; null: none, the question failed. @param {unknown} error */
  const groupAbsence = (error) => {
    const { status, statusCode } = /** @type {any} */ (error) ?? {};
    const said = `${described(error).text} ${status ?? statusCode ?? ''}`;
    if (/\b40[13]\b|forbidden|not[ -]?authorized|not a (member|participant)/i.test(said)) return 'not_a_member';
    return /\b404\b|not[ -]found|no such/i.test(said) ? 'group_unknown' : null;
  };

  /** Whether the page knows that we do not belong to a group: its list of participants is there, and we are not in it. @param {string} address */
  const outside = (address) => {
    const participants = maybe(() => /** @type {any} */ (wpp().whatsapp.GroupMetadataStore.get(address))?.participants);
    return participants?.length > 0 && maybe(() => participants.iAmMember()) === false;
  };

  /** @param {string} address */
  const resolveGroup = async (address) => {
    try {
      const found = await place(address);
      return outside(address) ? { why: 'not_a_member' } : { exists: true, wa_id: address, pn: null, lid: null, ...found };
    } catch (error) {
      const why = groupAbsence(error);
      if (why === null) throw error;
      return { why };
    }
  };

  /** Who is behind an address. `exists` null: WhatsApp said that nobody is; `why` is then said of a group. @param {{address: string}} a */
  const resolve = async ({ address }) => {
    const { drops, connected, generation } = state;
    // absence counts only where the line was up all the time
    const nobody = () => ({ exists: null, drops: state.drops, connected: connected && state.connected && drops === state.drops, generation });
    if (address.endsWith('@g.us')) {
      const group = await resolveGroup(address);
      return 'exists' in group ? group : { ...nobody(), ...group };
    }
    const answer = (await within(wpp().contact.queryExists(address), 15_000)) ?? (await askServer(address));
    if (answer === null) return nobody();
    const wid = String(answer.wid);
    const { ApiContact } = wpp().whatsapp;
    const pn = wid.endsWith('@c.us') ? wid : bare(maybe(() => /** @type {any} */ (ApiContact).getPhoneNumber(answer.wid)));
    const lid = wid.endsWith('@lid') ? wid : bare(answer.lid);
    return { exists: true, wa_id: pn ?? wid, pn, lid, ...(await place(answer.wid)) };
  };

  /** Hand a message to WhatsApp, at most once for each id. @param {Order} a @returns {Promise<object>} */
  const send = (a) => {
    fence(a);
    const known = state.calls.get(a.hex);
    if (known?.state === 'running' && known.answer) return known.answer;
    if (known?.state === 'placed' && !a.again) return Promise.resolve({ status: 'placed', joined: true });
    if (!watched()) throw new Refused('library_broken', 'wa-js cannot send in this document');
    /** @type {Call} */
    const call = { state: 'running', since: performance.now(), handed: false, hangs: false, answer: null };
    state.calls.set(a.hex, call);
    call.answer = new Promise((resolve) => {
      const timer = setTimeout(() => {
        if (call.handed) return; // then only the message itself tells what becomes of it
        Object.assign(call, { state: 'failed', hangs: true });
        resolve({ status: 'failed', code: 'hangs', text: `the page did not get as far as WhatsApp's own code within ${a.patience} ms` });
      }, a.patience);
      handOver(a, call)
        .then(resolve)
        .finally(() => {
          clearTimeout(timer);
          call.hangs = false;
        });
    });
    return call.answer;
  };

  /** @param {Order} a @param {Call} call @returns {Promise<object>} */
  const handOver = async (a, call) => {
    /** @param {string} code @param {string} text */
    const failed = (code, text) => {
      call.state = 'failed';
      return { status: 'failed', code, text };
    };
    try {
      if (a.type !== 'text') return failed('type_unknown', `this version cannot send messages of type ${a.type}`);
      const { chat } = wpp();
      const found = await chat.find(a.remote);
      if (String(found.id) !== a.remote) return failed('remote_changed', `the chat is ${String(found.id)} now`);
      if (account() !== a.account) return failed('other_account', 'another account is logged in');
      const why = closed(found.id);
      if (why !== null) return failed(why, 'the page itself says that nothing can be sent into this chat');
      await chat.sendTextMessage(a.remote, a.content.body, {
        messageId: a.key,
        waitForAck: false,
        linkPreview: a.content.preview_url === true,
        markIsRead: false,
        detectMentioned: false,
      });
      call.state = 'placed';
      return { status: 'placed', joined: false };
    } catch (error) {
      const { code, text } = described(error);
      if (!call.handed) return failed(code, text);
      // it had reached WhatsApp's own code, so it may be stored or sent: the safe side
      call.state = 'placed';
      return { status: 'unconfirmed', code, text, ack: await ackAfterRefusal(a.hex) };
    }
  };

  /** Whether one of these messages of ours is there, acked by WhatsApp's server. @param {string[]} keys */
  const seen = async (keys) => {
    for (const key of keys) {
      try {
        await within(wpp().chat.find(key.split('_')[1] ?? ''));
        if (Number((await within(wpp().chat.getMessageById(key))).ack) >= 1) return true;
      } catch {
        // not under this key, or no answer: then it is no witness
      }
    }
    return false;
  };

  /**
   * One question for reconciling: open the chats as a send would, ask for the witness, then under every key.
   * The witness first: what is missing after it was found is missing from a store that has been read.
   * @param {Sought} sought
   */
  const look = async ({ hex, chats, keys, witness }) => {
    const { chat } = wpp();
    /** @type {Record<string, string | null>} */
    const opened = {};
    /** @type {Record<string, string>} */
    const answers = {};
    const before = state.calls.get(hex)?.state ?? null;
    // where a call hangs, so would these questions; the ledger says what became of it
    const hangs = state.calls.get(hex)?.hangs === true;
    for (const remote of hangs ? [] : chats) {
      try {
        opened[remote] = String((await within(chat.find(remote))).id);
      } catch (error) {
        opened[remote] = null;
        answers[remote] = described(error).text;
      }
    }
    const witnessed = await seen(hangs ? [] : witness);
    // a chat that has moved is opened under its new id, which the host may not know yet
    const also = Object.values(opened).flatMap((id) => (id === null || id.endsWith('@g.us') ? [] : [`true_${id}_${hex}`]));
    const asked = [...new Set([...keys, ...also])];
    let found = null;
    for (const key of hangs ? [] : asked) {
      try {
        const message = await within(chat.getMessageById(key));
        const ack = Number(message.ack ?? 0);
        if (found === null || ack > found.ack) found = { key, ack, code: state.codes.get(hex) ?? null, why: reasonOf(hex, key.split('_')[1]) };
      } catch (error) {
        answers[key] = /** @type {any} */ (error)?.code ?? described(error).text;
      }
    }
    const call = state.calls.get(hex);
    const after = call?.state ?? null;
    // what changed while we looked may have been looked for too early: let it settle
    const ledger = before === after ? after : 'running';
    return { hex, ledger, age: call ? (performance.now() - call.since) / 1000 : null, opened, answers, also, witnessed, found };
  };

  /** What `look` found, or that the page could not say: a chat that hangs holds back none of the others that were asked for. @param {Sought} sought */
  const answered = (sought) =>
    within(look(sought), LOOK).catch(() => {
      const call = state.calls.get(sought.hex);
      const age = call ? (performance.now() - call.since) / 1000 : null;
      return { hex: sought.hex, ledger: call?.state ?? null, age, opened: {}, answers: {}, also: [], witnessed: false, found: null };
    });

  /** @param {Holder & {sought: Sought[]}} a */
  const find = async (a) => {
    current(a);
    return { generation: state.generation, found: await Promise.all(a.sought.map(answered)) };
  };

  /** Outcomes that are committed: nothing of these ids needs to be known any more. @param {Holder & {hexes: string[]}} a */
  const forget = (a) => {
    current(a);
    for (const hex of a.hexes) {
      const call = state.calls.get(hex);
      if (call && call.state !== 'running' && !call.hangs) state.calls.delete(hex);
      state.codes.delete(hex);
      state.refusals.delete(hex);
    }
    return { left: state.calls.size };
  };

  /**
   * The oldest ids that are kept here and whose call has ended, `limit` at most: the host compares them with its store and has
   * those forgotten that are settled there, since a `forget` may get lost.
   * @param {Holder & {limit: number}} a
   */
  const kept = (a) => {
    current(a);
    const ended = [...state.calls].filter(([, call]) => call.state !== 'running' && !call.hangs).map(([hex]) => hex);
    return { hexes: [...new Set([...ended, ...state.codes.keys(), ...state.refusals.keys()])].slice(0, a.limit) };
  };

  /**
   * News younger than `after`; waits up to `wait` ms for some. What is not younger is committed, and forgotten.
   * `overflows` in the answer is cleared once the host gives it back as `heard`: an answer may get lost.
   * @param {Holder & {generation: string, after: number, wait: number, heard?: number}} a
   */
  const events = async (a) => {
    current(a);
    if (a.generation !== state.generation) throw new Refused('other_document', 'the page has loaded anew since');
    for (const [name, news] of state.events) if (news.seq <= a.after) state.events.delete(name);
    state.overflowsHeard = Math.max(state.overflowsHeard, a.heard ?? 0);
    if (state.events.size === 0 && state.overflows <= state.overflowsHeard) {
      await new Promise((done) => {
        const wake = () => {
          clearTimeout(timer);
          waiters.delete(wake);
          done(null);
        };
        const timer = setTimeout(wake, a.wait);
        waiters.add(wake);
      });
      current(a);
    }
    const overflows = state.overflows > state.overflowsHeard ? state.overflows : 0;
    return { events: [...state.events.values()].slice(0, 500), overflows };
  };

  /** Ask WhatsApp to connect anew. @param {Holder} a */
  const reconnect = (a) => {
    current(a);
    const socket = /** @type {any} */ (wpp().whatsapp.Socket);
    if (typeof socket.reconnect === 'function') socket.reconnect();
    else if (typeof socket.initConn === 'function') socket.initConn();
    window.dispatchEvent(new Event('online'));
    return {};
  };

  /** @param {Holder} a */
  const logout = async (a) => {
    current(a);
    if (!authenticated()) throw new Refused('not_linked', 'no phone is linked');
    await within(wpp().conn.logout(), 10_000);
    return {};
  };

  /** @type {Record<string, (args: any) => unknown>} */
  const questions = { attach, probe, qr, pairing, resolve, knows, send, find, forget, kept, events, reconnect, dismiss, takeover, logout };

  /** @param {string} name @param {any} args */
  const call = async (name, args) => {
    try {
      const question = questions[name];
      if (!question) throw new Refused('unknown_call', `there is no ${name}`);
      return await question(args);
    } catch (error) {
      return { [error instanceof Refused ? 'refused' : 'error']: described(error) };
    }
  };

  // -- into the page

  // a passkey is asked for after some scans; a headless browser has nobody to ask, so it is kept open and said
  if (!state.credentialsWrapped && navigator.credentials) {
    state.credentialsWrapped = true;
    const original = navigator.credentials.get.bind(navigator.credentials);
    navigator.credentials.get = (options) => {
      if (!options?.publicKey) return original(options);
      state.passkeys += 1;
      return new Promise((_, reject) => {
        options.signal?.addEventListener('abort', () => {
          state.passkeys -= 1;
          reject(options.signal?.reason);
        });
      });
    };
  }

  old?.dispose();
  const dispose = () => {
    for (const off of undo.splice(0)) maybe(off);
    for (const wake of [...waiters]) wake();
  };
  Object.defineProperty(window, NAME, { value: { state, call, dispose, version: VERSION }, configurable: true, enumerable: false });
  page.WPP?.loader?.onInjected(hookAll);
  page.WPP?.loader?.onReady(hookAll);
  page.WPP?.loader?.onFullReady(hookAll);
  hookAll();
})();
