// A collection of models, found by the text of their id.
__d('WAWebCollection', [], (exports) => {
  const EventEmitter = require('WAWebEventEmitter').default;

  exports.default = class Collection extends EventEmitter {
    constructor(modelClass = require('WAWebBaseModel').BaseModel) {
      super();
      // this text is how wa-js recognizes the class
      if (!modelClass) throw new Error('Collection initialized without model');
      Object.defineProperty(this, 'modelClass', { value: modelClass });
      Object.defineProperty(this, '_index', { value: new Map() });
    }

    get(id) {
      if (id == null) return undefined;
      return this._index.get(String(id)) ?? (id.id === undefined ? undefined : this._index.get(String(id.id)));
    }

    assertGet(id) {
      const model = this.get(id);
      if (!model) throw new Error(`no model ${id}`);
      return model;
    }

    add(input, options) {
      return (Array.isArray(input) ? input : [input]).map((raw) => {
        const known = this.get(raw.id);
        if (known) {
          if (options?.merge) known.set(raw);
          return known;
        }
        const model = raw instanceof this.modelClass ? raw : new this.modelClass(raw);
        if (!model.collection) Object.defineProperty(model, 'collection', { value: this, configurable: true, writable: true });
        this._index.set(String(model.id), model);
        this.trigger('add', model, this, {});
        return model;
      });
    }

    remove(id) {
      const model = this.get(id);
      if (model && this._index.delete(String(model.id))) this.trigger('remove', model, this);
      return model;
    }

    // out of memory, but not gone: nobody is told
    forget(id) {
      this._index.delete(String(id));
    }

    reset() {
      this._index.clear();
      this.trigger('reset', this);
    }

    getModelsArray() {
      return [...this._index.values()];
    }

    get _models() {
      return this.getModelsArray();
    }

    get models() {
      return this.getModelsArray();
    }

    get length() {
      return this._index.size;
    }

    first() {
      return this._index.values().next().value;
    }

    last() {
      return this.getModelsArray().at(-1);
    }

    findFirst(test) {
      return this.getModelsArray().find(test);
    }

    filter(test) {
      return this.getModelsArray().filter(test);
    }

    map(call) {
      return this.getModelsArray().map(call);
    }

    forEach(call) {
      this.getModelsArray().forEach(call);
    }

    some(test) {
      return this.getModelsArray().some(test);
    }

    async find(id) {
      return this.get(id);
    }

    async update() {}
  };
});

__d('WAWebCollections', [], (exports) => {
  exports.BaseCollection = require('WAWebCollection').default;
});

// A collection's own module: {<Name>Collection: the one instance, <Name>CollectionImpl: its class}, as wa-js expects it.
__d('SandboxCollections', [], (exports) => {
  const Collection = require('WAWebCollection').default;

  exports.fill = (target, name, { model, methods = {}, asDefault = false, withClass = true } = {}) => {
    const Impl = class extends Collection {
      constructor() {
        super(model);
      }
    };
    Object.assign(Impl.prototype, methods);
    if (withClass && !asDefault) target[`${name}Impl`] = Impl;
    target[asDefault ? 'default' : name] = new Impl();
  };
});
