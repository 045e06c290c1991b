// WhatsApp's event emitter: what every model and collection is.
__d('WAWebEventEmitter', [], (exports) => {
  exports.default = class EventEmitter {
    #listeners = new Map();

    on(names, call, context) {
      for (const name of names.split(/\s+/)) {
        if (!this.#listeners.has(name)) this.#listeners.set(name, []);
        this.#listeners.get(name).push({ call, original: call, context });
      }
      return this;
    }

    once(name, call, context) {
      const once = (...args) => {
        this.off(name, call);
        call.apply(context ?? this, args);
      };
      this.on(name, once, context);
      this.#listeners.get(name).at(-1).original = call;
      return this;
    }

    off(name, call) {
      if (name === undefined) this.#listeners.clear();
      else if (call === undefined) this.#listeners.delete(name);
      else
        this.#listeners.set(
          name,
          (this.#listeners.get(name) ?? []).filter((l) => l.call !== call && l.original !== call),
        );
      return this;
    }

    listenTo(other, name, call) {
      other.on(name, call, this);
      return this;
    }

    stopListening() {
      return this;
    }

    trigger(name, ...args) {
      for (const { call, context } of [...(this.#listeners.get(name) ?? [])]) call.apply(context ?? this, args);
      for (const { call, context } of [...(this.#listeners.get('all') ?? [])]) call.call(context ?? this, name, ...args);
      return this;
    }
  };
});
