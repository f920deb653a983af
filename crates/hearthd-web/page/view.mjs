// The whole page: who is here, the rooms with their devices, and what has happened.

import { h, write } from './controls.mjs';
import { asked, card } from './faces.mjs';
import { known, say, time, why } from './words.mjs';

export class View {
  #home; #root; #cards = new Map(); #order = '';
  #banner = h('p', { class: 'banner', role: 'status' });
  #rooms = h('div', { class: 'rooms' });
  #empty = h('p', { class: 'empty' });
  #history; #lists = {};

  constructor(home, root) {
    this.#home = home;
    this.#root = root;
    const list = (name) => {
      this.#lists[name] = h('ol', { class: 'log' });
      return [h('h3', {}, say(name)), this.#lists[name]];
    };
    this.#history = h('details', { class: 'history' }, h('summary', {}, say('history')), ...list('requests'), ...list('events'), ...list('absences'));
    this.#history.addEventListener('toggle', () => this.update());
    root.replaceChildren(this.#banner, this.#rooms, this.#empty, this.#history);
  }

  update() {
    this.#place();
    for (const { update } of this.#cards.values()) update();
    write(this.#banner, this.#bannerWords());
    this.#banner.hidden = !this.#banner.textContent;
    write(this.#empty, this.#cards.size ? '' : say(this.#home.hubs.size ? 'no-devices' : 'no-hub'));
    if (this.#history.open) this.#showHistory();
  }

  /** Makes the cards that are missing, and puts all into their rooms, where something has changed. */
  #place() {
    const devices = [...this.#home.devices.values()].filter((device) => device.properties || device.status);
    const order = devices.map(({ id, version, room, name, kind }) => [id, version, room, name, kind].join('\0')).sort().join('\n');
    if (order === this.#order) return;
    this.#order = order;
    const before = this.#cards;
    this.#cards = new Map();
    const rooms = new Map();
    const byName = new Intl.Collator(document.documentElement.lang, { numeric: true }).compare;
    for (const device of devices.sort((one, other) => byName(one.name, other.name))) {
      const key = `${device.id}\0${device.version}`;
      const made = before.get(key) ?? card(this.#home, device);
      this.#cards.set(key, made);
      const room = device.room ?? '';
      if (!rooms.has(room)) rooms.set(room, []);
      rooms.get(room).push(made.element);
    }
    const names = [...rooms.keys()].sort((one, other) => (one ? 0 : 1) - (other ? 0 : 1) || byName(one, other));
    const focused = document.activeElement;
    this.#rooms.replaceChildren(...names.map((room) => h('section', {},
      rooms.size > 1 || room ? h('h2', {}, room || say('other-room')) : null, h('div', { class: 'cards' }, ...rooms.get(room)))));
    if (focused && this.#rooms.contains(focused)) focused.focus();
  }

  #bannerWords() {
    const home = this.#home;
    if (!home.isOnline) return `${say('lost', time(home.since))} ${say('trying')}`;
    const away = [...home.hubs].filter(([, hub]) => hub.online === false);
    return away.map(([id, { since, isExact }]) => say('hub-away', id, isExact ? time(since) : say('before', time(since)))).join(' ');
  }

  #showHistory() {
    const home = this.#home;
    const fill = (name, items) => {
      const lines = items.length ? items : [[null, say('none')]];
      const all = lines.map(([at, words, state]) => h('li', { 'data-state': state }, at && h('time', {}, time(at)), ' ', words));
      this.#lists[name].replaceChildren(...all);
    };
    fill('requests', home.asks.map((ask) => [ask.sent, `${asked(home, ask)}: ${outcome(ask)}`, ask.state]));
    fill('events', home.events.map((event) => [event.at, eventWords(home, event), 'event']));
    const absences = [...home.hubs].flatMap(([id, hub]) => hub.absences.map((absence) => [Date.parse(absence.decided_at), `${id}: ${absenceWords(absence)}`]));
    fill('absences', absences.sort((one, other) => other[0] - one[0]).slice(0, 50));
  }
}

/** Returns what became of a request. */
export function outcome(ask) {
  switch (ask.state) {
    case 'asking': return '…';
    case 'done': return ask.status === 409 ? say('done-but') : `${say(ask.status === 202 ? 'under-way' : 'done')} (${ask.ended - ask.sent} ms)`;
    case 'failed': return say('failed', why(ask));
    default: return say('unknown', why(ask));
  }
}

function eventWords(home, { device, event, property, payload, message, status }) {
  const name = home.devices.get(device)?.name ?? device;
  if (event === 'failed') return `${name}, ${say('event-failed', property, payload, why({ status, message }))}`;
  const title = property && (home.devices.get(device)?.properties?.[property]?.title ?? property);
  if (title && typeof event === 'string') return `${name}, ${known(title)}: ${event === 'done' ? say('done') : known(event)}`;
  return `${name}: ${typeof event === 'string' ? event : JSON.stringify(event)}`;
}

/** Returns what became of a hub's will. */
export function absenceWords({ outcome, acknowledgements = [], clean }) {
  const by = acknowledgements.map(({ responder, payload }) => `${responder ?? '?'} (${payload})`).join(', ');
  const words = say(outcome === 'unknown' ? 'outcome-unknown' : outcome, by);
  return clean ? say('in-order') : words;
}
