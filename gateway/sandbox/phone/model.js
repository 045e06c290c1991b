// What the phone knows, kept fresh by a long poll of /control/changes, and the calls that change it.

export const phone = {
  rows: new Map(),
  names: {},
  groups: {},
  accounts: [],
  pages: [],
  faults: [],
  settings: {},
  summary: {},
  opened: new Set(),
};

const account = () => phone.accounts.find((a) => a.linked) ?? phone.accounts[0];
export const owner = account;

// the chat that a row belongs to: a number, or a group's id
export const chatOf = (row) => row.number ?? row.chat;
export const isGroup = (chat) => chat.endsWith('@g.us');

export const pretty = (number) => {
  const n = String(number).replace(/@.*/, '');
  if (n.length < 8) return `+${n}`;
  const country = /^(1|7)/.test(n) ? 1 : 2;
  return `+${n.slice(0, country)} ${n.slice(country, country + 3)} ${n.slice(country + 3)}`;
};
export const nameOf = (chat) => phone.groups[chat] ?? phone.names[chat] ?? pretty(chat);

// chats with their rows in order, latest first; those opened by hand and the address book's follow
export const chats = () => {
  const found = new Map();
  const own = account()?.number;
  for (const row of [...phone.rows.values()].filter((r) => r.account === own).sort((a, b) => a.seq - b.seq)) {
    if (!found.has(chatOf(row))) found.set(chatOf(row), []);
    found.get(chatOf(row)).push(row);
  }
  const used = [...found].sort(([, a], [, b]) => b.at(-1).seq - a.at(-1).seq);
  const rest = [...phone.opened, ...Object.keys(phone.groups), ...Object.keys(phone.names)].filter((chat) => !found.has(chat));
  return [...used, ...[...new Set(rest)].map((chat) => [chat, []])].map(([id, rows]) => ({ id, rows, last: rows.at(-1) }));
};

let hide = 0;
export const toast = (sentence) => {
  const box = document.getElementById('toast');
  box.textContent = sentence;
  box.classList.add('shown');
  clearTimeout(hide);
  hide = setTimeout(() => box.classList.remove('shown'), 5000);
};

// a call of the control API; what it refuses is shown as its sentence
export const control = async (path, body, method = 'POST') => {
  const answer = await fetch(`/control/${path}`, {
    method,
    ...(body && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
  });
  const said = await answer.json();
  if (answer.ok) return said;
  toast(said.error.message);
  return null;
};

// rows kept in the page, and the pause in milliseconds between two looks when much is going on
const MOST_ROWS = 5_000;
const BREATH = 150;

const prune = () => {
  for (const key of phone.rows.keys()) {
    if (phone.rows.size <= MOST_ROWS) return;
    phone.rows.delete(key);
  }
};

// follow the sandbox for ever; `changed` is called after each answer
export const follow = async (changed) => {
  let version = 0;
  for (;;) {
    try {
      const answer = await fetch(`/control/changes?since=${version}&wait=20`);
      const news = await answer.json();
      if (news.era !== phone.era) phone.rows.clear(); // a reset came in between
      for (const row of news.messages) phone.rows.set(row.direction + row.id, row);
      prune();
      const { messages: _, version: now, ...rest } = news;
      Object.assign(phone, rest);
      version = now;
      changed();
      await new Promise((resolve) => setTimeout(resolve, BREATH));
    } catch {
      toast('The sandbox does not answer. Trying again…');
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
};
