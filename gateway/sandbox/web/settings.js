// What the server says about this WhatsApp's behaviour, and the faults that take effect in the page.
__d('SandboxSettings', [], (exports) => {
  exports.behaviour = {};
  let faults = [];
  // how to take back what an update of WhatsApp renamed
  const undo = [];

  exports.update = ({ behaviour, faults: active }) => {
    exports.behaviour = behaviour;
    const now = performance.now();
    faults = active.map((fault) => ({ ...fault, until: fault.seconds === undefined ? Infinity : now + fault.seconds * 1000 }));
    undo.splice(0).forEach((back) => back());
    for (const fault of faults) updates[fault.kind]?.(fault);
    require('SandboxModals').show(faults.filter((fault) => fault.kind === 'modal'));
  };

  // the first fault of that kind that is on and fits; this uses one of its occasions
  exports.hit = (kind, ...texts) => {
    const now = performance.now();
    const fault = faults.find(
      (f) => f.kind === kind && now < f.until && (f.count ?? 1) > 0 && (!f.match || texts.some((t) => String(t ?? '').includes(f.match))),
    );
    if (fault) exports.used(fault);
    return fault;
  };

  // whether a fault of that kind has reached this page; uses none of its occasions
  exports.on = (kind) => faults.some((f) => f.kind === kind);

  // one occasion fewer
  exports.used = (fault) => {
    if (fault.count === undefined) return;
    fault.count -= 1;
    require('SandboxLine').say({ t: 'fault_used', id: fault.id });
  };

  // resolves after the seconds that a fault of that kind asks for
  exports.delayed = async (kind, ...texts) => {
    const fault = exports.hit(kind, ...texts);
    if (fault) await new Promise((resolve) => setTimeout(resolve, fault.seconds_delay * 1000));
  };

  // an update of WhatsApp: what it renamed is gone under the old name while the fault is on
  const rename = (target, name, newName) => {
    const found = Object.getOwnPropertyDescriptor(target, name);
    if (!found) return;
    delete target[name];
    Object.defineProperty(target, newName, found);
    undo.push(() => {
      delete target[newName];
      Object.defineProperty(target, name, found);
    });
  };
  const updates = {
    renamed_function: (fault) => rename(require(fault.module), fault.function, `${fault.function}2`),
    renamed_field: (fault) => rename(require(fault.module).default.prototype, fault.field, '$1'),
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
    memory_blow_up: ({ megabytes }) => {
      for (let n = 1; n <= megabytes; n += 1) kept.push(new Uint8Array(2 ** 20).fill(n));
    },
    reload: () => location.reload(),
  };
  const kept = [];
  exports.happen = (fault) => happenings[fault.kind]?.(fault);
});
