// Small helpers for building the page; texts are only ever set as text.

export const $ = (id) => document.getElementById(id);

export const el = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== 'list') element[name] = value;
    else if (value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
};

const COLOURS = ['#d9603b', '#1f7aec', '#7a5af8', '#0a9e74', '#c2410c', '#be185d', '#0e7490', '#4d7c0f'];
export const colour = (text) => COLOURS[[...text].reduce((sum, char) => (sum * 31 + char.charCodeAt(0)) % 9973, 7) % COLOURS.length];

export const paintFace = (element, chat, name) => {
  element.className = 'face';
  element.textContent = /^[+\d]/.test(name) ? '#' : name.slice(0, 1).toUpperCase();
  element.style.background = colour(chat);
  return element;
};

const TICK = {
  clock: 'M8.5 1.2a4.3 4.3 0 1 0 .01 0M8.5 3v2.6l1.7 1.1',
  one: 'M4 6 7 9 13.5 2',
  two: 'M1.5 6 4.5 9 11 2M7.6 8.6 8 9 14.5 2',
};
const MEANING = { 0: 'The server has it; its ack is withheld', 1: 'Sent', 2: 'Delivered', 3: 'Read', 4: 'Played' };

export const ticks = (ack) => {
  const ns = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(ns, 'svg');
  svg.setAttribute('viewBox', '0 0 17 11');
  svg.setAttribute('class', ack >= 3 ? 'ticks read' : 'ticks');
  const title = document.createElementNS(ns, 'title');
  title.textContent = MEANING[ack];
  const path = document.createElementNS(ns, 'path');
  path.setAttribute('fill', 'none');
  path.setAttribute('stroke', 'currentColor');
  path.setAttribute('stroke-width', '1.5');
  path.setAttribute('d', ack === 0 ? TICK.clock : ack === 1 ? TICK.one : TICK.two);
  svg.append(title, path);
  return svg;
};
