// Dialogs that lie over the page, as WhatsApp Web shows them: each until its button was pressed.
__d('SandboxModals', [], (exports) => {
  const shown = new Map();

  const element = (name, text = '') => Object.assign(document.createElement(name), { textContent: text });

  const open = (fault) => {
    const modal = element('div');
    modal.className = 'modal';
    modal.setAttribute('role', 'dialog');
    modal.setAttribute('aria-modal', 'true');
    const button = element('button', fault.button);
    button.addEventListener('click', () => {
      require('SandboxSettings').used(shown.get(fault.id).fault);
      if (!(shown.get(fault.id).fault.count > 0)) close(fault.id);
    });
    modal.append(element('h1', fault.title), element('p', 'This dialog waits for somebody to read it.'), button);
    document.body.append(modal);
    return modal;
  };

  const close = (id) => {
    shown.get(id).modal.remove();
    shown.delete(id);
  };

  // these, and no others
  exports.show = (faults) => {
    const wanted = new Set(faults.map((fault) => fault.id));
    for (const id of [...shown.keys()]) if (!wanted.has(id)) close(id);
    for (const fault of faults) shown.set(fault.id, { fault, modal: shown.get(fault.id)?.modal ?? open(fault) });
  };
});
