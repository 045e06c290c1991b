// The page's module system, as far as wa-js looks at it. `__d` registers a module, `require` runs its
// factory at the first use and hands out the exports: one live, mutable object, since wa-js patches it.
// Modules named WA… stand for WhatsApp's own; those named Sandbox… are this stand-in's machinery.
(() => {
  const modules = {};

  const load = (id) => {
    const found = modules[id];
    if (!found) throw new Error(`Requiring unknown module "${id}"`);
    if (!found.exports) {
      found.exports = {};
      found.factory(found.exports);
    }
    return found.exports;
  };

  window.ErrorGuard = { skipGuardGlobal() {} };
  window.importNamespace = load;
  window.importDefault = (id) => load(id).default;
  window.requireLazy = (ids, callback) => callback(...ids.map(load));
  window.__d = (id, _dependencies, factory) => {
    modules[id] = { factory, exports: null };
  };
  window.require = (id) => (id === '__debug' ? { modulesMap: modules } : load(id));
})();
