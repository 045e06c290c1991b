// Faults and settings: what the catalogue says, as switches.
import { $, el } from './dom.js';
import { control, phone, toast } from './model.js';

const title = (name) =>
  name
    .replaceAll('_', ' ')
    .replace(/^./, (char) => char.toUpperCase())
    .replace(/\bqr\b/i, 'QR')
    .replace(/\blid\b/i, 'LID');
const TEXT = new Set(['match', 'module', 'function', 'field', 'title', 'button']);
const HINT = {
  count: 'how often',
  seconds: 'for seconds',
  match: 'only if text or chat has',
  seconds_delay: 'delay in seconds',
  code: 'error code',
  megabytes: 'megabytes (300 unless said)',
  title: 'what it says',
  button: 'its button',
};
const FIRST = { count: '1' };

const request = (kind, form) => {
  const values = Object.fromEntries(
    [...new FormData(form)].filter(([, value]) => value !== '').map(([name, value]) => [name, TEXT.has(name) ? value : Number(value)]),
  );
  return control('faults', { kind, ...values });
};

const fault = ({ kind, sentence, at_once: once, takes }) => {
  const fields = takes.map((name) =>
    el(
      'label',
      {},
      HINT[name] ?? name,
      el('input', {
        name,
        value: FIRST[name] ?? '',
        type: TEXT.has(name) ? 'text' : 'number',
        min: name === 'count' ? '1' : '0',
        step: 'any',
        placeholder: TEXT.has(name) ? 'any' : name === 'seconds' ? 'until off' : '',
      }),
    ),
  );
  const submit = async (event) => {
    event.preventDefault();
    if (await request(kind, event.target)) toast(once ? `${title(kind)}: done.` : `${title(kind)} is on.`);
  };
  return el(
    'details',
    { className: 'fault', name: 'fault' },
    el('summary', {}, el('b', {}, title(kind)), el('span', {}, sentence)),
    el('form', { onsubmit: submit }, ...fields, el('button', {}, once ? 'Do it now' : 'Switch on')),
  );
};

const active = (one) => {
  const left = [
    one.count !== undefined ? `${one.count} × left` : null,
    one.seconds !== undefined ? `${Math.ceil(one.seconds)} s left` : null,
    one.match ? `for “${one.match}”` : null,
  ].filter(Boolean);
  return el(
    'div',
    { className: 'on' },
    el('span', {}, el('b', {}, title(one.kind)), left.join(', ') || 'until switched off'),
    el('button', { type: 'button', onclick: () => control(`faults/${one.id}`, null, 'DELETE') }, 'Off'),
  );
};

const setting = (name, sentence, value, options) => {
  const change = (next) => control('settings', { [name]: next });
  const input = options
    ? el(
        'select',
        { id: `s-${name}`, onchange: (event) => change(event.target.value) },
        ...options.map((option) => el('option', { value: option }, option)),
      )
    : typeof value === 'boolean'
      ? el('input', { id: `s-${name}`, type: 'checkbox', className: 'switch', onchange: (event) => change(event.target.checked) })
      : el('input', { id: `s-${name}`, type: 'number', min: '0', step: 'any', onchange: (event) => change(Number(event.target.value)) });
  return el('div', { className: 'setting' }, el('label', { htmlFor: `s-${name}` }, el('b', {}, title(name))), input, el('p', {}, sentence));
};

const COUNTERS = [
  ['ids', 'messages arrived', () => false],
  ['page_resends', 'resent by the page', () => false],
  ['nacked', 'refused', () => false],
  ['foreign_requests', 'requests elsewhere', (n) => n > 0],
];

export const draw = () => {
  $('summary').replaceChildren(
    ...COUNTERS.map(([name, label, bad]) =>
      el('div', { className: bad(phone.summary[name]) ? 'bad' : '' }, el('dd', {}, String(phone.summary[name])), el('dt', {}, label)),
    ),
  );
  $('active').replaceChildren(...phone.faults.map(active));
  for (const [name, value] of Object.entries(phone.settings)) {
    const input = $(`s-${name}`);
    if (!input || input === document.activeElement) continue;
    if (input.type === 'checkbox') input.checked = value;
    else input.value = value;
  }
};

export const start = async () => {
  const [{ kinds }, { settings, meaning, options }] = await Promise.all([control('faults', null, 'GET'), control('settings', null, 'GET')]);
  $('faults').replaceChildren(...kinds.map(fault));
  $('settings').replaceChildren(...Object.entries(settings).map(([name, value]) => setting(name, meaning[name], value, options[name])));
  $('reset').addEventListener('click', async () => {
    if (await control('reset')) toast('Everything is as new.');
  });
};
