// The phone's linked devices: scanning the code, typing a pairing code, logging a device out.
import { $, el } from './dom.js';
import { control, owner, phone, pretty } from './model.js';

const codeForm = (code) =>
  el(
    'form',
    {
      className: 'row',
      onsubmit: (event) => {
        event.preventDefault();
        control('scan', { code: event.target.elements.code.value });
      },
    },
    el('input', { name: 'code', value: code, 'aria-label': 'Pairing code', autocomplete: 'off' }),
    el('button', {}, 'Link'),
  );

const unlinked = () => {
  const qr = phone.pages.some((page) => page.qr);
  const code = phone.pages.map((page) => page.pairing_code).find(Boolean);
  const passkey = phone.pages.some((page) => page.state === 'passkey');
  const sentence = passkey
    ? 'Scanned. The page now waits for the account’s passkey.'
    : qr
      ? 'A WhatsApp Web page shows its code and waits for you.'
      : phone.pages.length
        ? 'A page is open, but its code has expired. Ask it for a new one.'
        : 'No WhatsApp Web page is open. Start the gateway, or open this server’s first page.';
  return [
    el('strong', {}, 'No device is linked'),
    el('p', {}, sentence),
    el('button', { type: 'button', disabled: !qr, onclick: () => control('scan', { account: owner().number }) }, 'Scan the QR code'),
    ...(code ? [el('p', {}, 'Or take the pairing code that the page asked for:'), codeForm(code)] : []),
  ];
};

const linked = (account) => [
  el('strong', {}, account.connected ? 'WhatsApp Web is linked and online' : 'WhatsApp Web is linked, and away'),
  ...account.devices.map((device) =>
    el(
      'p',
      {},
      `Device ${device.number}: ${device.connected ? 'connected' : device.waiting ? `not connected, ${device.waiting} updates wait for it` : 'not connected'}`,
    ),
  ),
  el(
    'button',
    { type: 'button', className: 'plain danger', onclick: () => control('unlink', { account: account.number }) },
    'Log this device out',
  ),
];

let shown = '';
export const draw = () => {
  const account = owner();
  if (!account) return;
  $('owner').textContent = pretty(account.number);
  $('presence').textContent = !account.linked ? 'not linked' : account.connected ? 'online' : 'away';
  const now = JSON.stringify([account, phone.pages.map((page) => [page.qr, page.pairing_code, page.state])]);
  if (now === shown) return; // a form that is being filled in stays
  shown = now;
  $('link').replaceChildren(...(account.linked ? linked(account) : unlinked()));
};
