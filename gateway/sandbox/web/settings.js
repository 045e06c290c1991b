// What the server says about this WhatsApp's behaviour, and the faults that take effect in the page.
__d('SandboxSettings', [], (exports) => {
  exports.behaviour = {};
  let faults = [];
  let renamed = [];

  exports.update = ({ behaviour, faults: active }) => {
    exports.behaviour = behaviour;
    const now = performance.now();
    faults = active.map((fault) => ({ ...fault, until: fault.seconds === undefined ? Infinity : now + fault.seconds * 1000 }));
    rename(faults.filter((fault) => fault.kind === 'renamed_function'));
  };

  // the first fault of that kind that is on and fits; this uses one of its occasions
  exports.hit = (kind, ...texts) => {
    const now = performance.now();
    const fault = faults.find(
      (f) => f.kind === kind && now < f.until && (f.count ?? 1) > 0 && (!f.match || texts.some((t) => String(t ?? '').includes(f.match))),
    );
    if (fault && fault.count !== undefined) {
      fault.count -= 1;
      require('SandboxLine').say({ t: 'fault_used', id: fault.id });
    }
    return fault;
  };

  // resolves after the seconds that a fault of that kind asks for
  exports.delayed = async (kind, ...texts) => {
    const fault = exports.hit(kind, ...texts);
    if (fault) await new Promise((resolve) => setTimeout(resolve, fault.seconds_delay * 1000));
  };

  // an update of WhatsApp that renamed functions: gone under the old name while the fault is on
  const rename = (wanted) => {
    for (const { target, name, original } of renamed) {
      delete target[`${name}2`];
      target[name] = original;
    }
    renamed = [];
    for (const { module, function: name } of wanted) {
      const target = require(module);
      if (typeof target[name] !== 'function') continue;
      renamed.push({ target, name, original: target[name] });
      target[`${name}2`] = target[name];
      delete target[name];
    }
  };

  // faults that happen once, now
  const happenings = {
    page_exception: () =>
      setTimeout(() => {
        throw new Error('the sandbox was asked to throw this');
      }),
    endless_loop: () =>
      setTimeout(() => {
        for (;;);
      }, 20),
    reload: () => location.reload(),
  };
  exports.happen = ({ kind }) => happenings[kind]?.();
});
