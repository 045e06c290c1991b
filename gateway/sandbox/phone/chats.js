// The list of chats, the conversation, and the line in which the other side writes.
import { $, colour, el, paintFace, ticks } from './dom.js';
import { chats, control, isGroup, nameOf, owner, phone, pretty } from './model.js';

let current = null;
let chosen = false; // until somebody picks a chat, the latest one is shown

const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
const ackOf = (row) => Math.max(0, ...row.acks);
const KINDS = {
  image: 'Photo',
  video: 'Video',
  audio: 'Audio',
  ptt: 'Voice message',
  document: 'Document',
  sticker: 'Sticker',
  location: 'Location',
  vcard: 'Contact',
  revoked: 'This message was deleted',
};
const said = (row) => row.body ?? row.caption ?? KINDS[row.type] ?? row.type;

const entry = ({ id, last }) => {
  const name = nameOf(id);
  const preview = last
    ? [last.direction === 'out' ? ticks(ackOf(last)) : null, said(last)]
    : [isGroup(id) ? 'A group you are in' : 'No messages yet'];
  return el(
    'button',
    { className: 'entry', type: 'button', onclick: () => open(id), 'aria-current': id === current ? 'true' : undefined },
    paintFace(el('span'), id, name),
    el(
      'div',
      {},
      el('div', { className: 'top' }, el('span', { className: 'name' }, name), last ? el('time', {}, clock(last.accepted_at)) : null),
      el('div', { className: 'last' }, ...preview.filter((part) => part !== null)),
    ),
  );
};

const arrivals = (row) => {
  if (row.direction !== 'out' || row.stanzas < 2) return null;
  const parts = [
    row.calls > 1 ? `sent by ${row.calls} calls` : null,
    row.page_resends ? `${row.page_resends} × by the page itself` : null,
  ].filter(Boolean);
  return el('span', { className: row.calls > 1 ? 'again twice' : 'again' }, `arrived ${row.stanzas} times: ${parts.join(', ')}`);
};

const media = (row) => {
  if (!row.media_sha256) return null;
  const source = `/mms/${row.media_sha256}`;
  if (row.type === 'image' || row.type === 'sticker') return el('img', { src: source, alt: row.filename ?? 'Photo' });
  return el('span', { className: 'file' }, `${KINDS[row.type] ?? row.type}: ${row.filename ?? row.mimetype ?? ''}`);
};

const bubble = (row, before) => {
  const out = row.direction === 'out';
  const who = !out && isGroup(current) ? el('span', { className: 'who', style: `color:${colour(row.author)}` }, nameOf(row.author)) : null;
  const foot = el('span', { className: 'foot' }, clock(row.accepted_at), out ? ticks(ackOf(row)) : null);
  const text = row.media_sha256 ? (row.caption ?? '') : said(row);
  return el(
    'div',
    { className: `bubble ${row.direction}${before?.direction === row.direction ? '' : ' turn'}` },
    who,
    media(row),
    text,
    row.reactions ? ` ${row.reactions.join('')}` : null,
    foot,
    arrivals(row),
  );
};

const EMPTY = el(
  'div',
  { className: 'empty' },
  el('b', {}, 'Nothing here yet'),
  'Send a message to this chat through the gateway, or write one below: it arrives at the gateway as if this person had sent it.',
);

const conversation = (rows) => {
  const box = $('messages');
  const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 60;
  const shown = rows.slice(-300);
  const older = rows.length > shown.length ? [el('div', { className: 'day' }, `${rows.length - shown.length} older messages`)] : [];
  box.replaceChildren(...(rows.length ? [...older, ...shown.map((row, i) => bubble(row, shown[i - 1]))] : [EMPTY]));
  if (atEnd) box.scrollTop = box.scrollHeight;
};

const writers = () => Object.keys(phone.names).filter((number) => number !== owner()?.number);

const header = (id) => {
  const name = nameOf(id);
  paintFace($('face'), id, name);
  $('title').textContent = name;
  $('subtitle').textContent = isGroup(id)
    ? 'Group · green bubbles are what the gateway sent'
    : `${pretty(id)} · green bubbles are what the gateway sent`;
  const author = $('author');
  author.hidden = !isGroup(id);
  if (author.childElementCount !== writers().length)
    author.replaceChildren(...writers().map((number) => el('option', { value: number }, nameOf(number))));
  $('text').placeholder = isGroup(id) ? 'Write into the group' : `Write to the gateway as ${name}`;
};

const open = (id) => {
  current = id;
  chosen = true;
  draw();
  $('messages').scrollTop = $('messages').scrollHeight;
};

export const draw = () => {
  const all = chats();
  if (!chosen || !all.some((chat) => chat.id === current)) current = all[0]?.id ?? null;
  $('chats').replaceChildren(...all.slice(0, 200).map(entry));
  if (current === null) return;
  header(current);
  conversation(all.find((chat) => chat.id === current).rows);
};

export const start = () => {
  $('composer').addEventListener('submit', async (event) => {
    event.preventDefault();
    const group = isGroup(current);
    const sent = await control('incoming', {
      from: group ? $('author').value : current,
      text: $('text').value,
      account: owner().number,
      ...(group && { group: current }),
    });
    if (sent) $('text').value = '';
  });
  $('stranger').addEventListener('submit', (event) => {
    event.preventDefault();
    const number = $('number').value.replace(/\D/g, '');
    if (number.length < 5) return;
    phone.opened.add(number);
    $('number').value = '';
    open(number);
    $('text').focus();
  });
};
