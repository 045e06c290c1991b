// A model: attributes as own properties, and a `change:<name>` event for each that changes, on itself and on its collection.
__d('WAWebBaseModel', [], (exports) => {
  const EventEmitter = require('WAWebEventEmitter').default;

  exports.BaseModel = class BaseModel extends EventEmitter {
    constructor(attributes = {}) {
      super();
      // defined, not assigned: wa-js puts getters without setters on the prototypes
      for (const [name, value] of Object.entries(attributes)) this.#define(name, value);
    }

    #define(name, value) {
      Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
    }

    get attributes() {
      return { ...this };
    }

    set(attributes, value) {
      if (typeof attributes === 'string') attributes = { [attributes]: value };
      for (const [name, next] of Object.entries(attributes)) {
        const before = this[name];
        if (before === next) continue;
        this.#define(name, next);
        this.trigger(`change:${name}`, this, next, before);
        this.collection?.trigger(`change:${name}`, this, next, before);
      }
      return this;
    }

    unset(name) {
      delete this[name];
      return this;
    }

    toJSON() {
      return { ...this };
    }

    serialize() {
      return { ...this };
    }
  };
  exports.defineModel = (cls) => cls;

  // wa-js finds the model classes by this name on their prototype
  exports.named = (cls, name) => {
    cls.prototype.proxyName = name;
    return cls;
  };
});
