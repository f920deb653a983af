// What the page knows of the home, and what became of each request. It draws nothing and owns no connection.
//
// A value is what the device's state topic says, never what was asked for. A request stays open until its one answer is here;
// after a lost connection it goes out again under the same name, so that the hub gives the first answer and does nothing twice.

const EXPIRY = 10;
/** A request whose connection was lost waits longer: so late may it be carried out. */
const LATEST = 30;
const RING = 50;
/** Requests of the page's own that are under way at a time. */
const AT_ONCE = 8;
/** How soon a device that could not be described is asked again. */
const AGAIN = 15;
/** Longest value that is shown. */
const LONGEST = 2000;

const text = new TextDecoder();

/**
 * The home. `world` gives `topics`, `now()` in milliseconds, `random(length)` bytes, `publish(key, topic, payload, properties)`,
 * `changed(what)`, and `told(ask)` for each request of a person that has come to an end.
 */
export class Home {
  hubs = new Map();
  devices = new Map();
  /** The last requests of people, newest first. */
  asks = [];
  /** The last events, newest first. */
  events = [];
  isOnline = false;
  /** Since when there is no connection. */
  since = null;
  prefix = '';
  clientId = '';
  #world; #open = new Map(); #waiting = []; #next = new Map(); #lookAgain = 0;

  constructor(world) {
    this.#world = world;
    this.since = world.now();
  }

  #topic(kind, values) { return this.#world.topics.name(kind, this.prefix, values); }

  responseFilter(prefix, clientId) {
    this.prefix = prefix;
    this.clientId = clientId;
    return this.#topic('response', { client_id: clientId });
  }

  filters(prefix) {
    this.prefix = prefix;
    return ['state', 'presence', 'absence', 'event'].map((kind) => this.#topic(kind));
  }

  online() {
    this.isOnline = true;
    this.since = null;
    for (const ask of this.#open.values()) this.#send(ask);
    for (const id of this.hubs.keys()) this.#discover(id);
    for (const id of this.devices.keys()) this.#describe(id);
    this.#world.changed();
  }

  offline() {
    if (this.isOnline) this.since = this.#world.now();
    this.isOnline = false;
    this.#world.changed();
  }

  /** Forgets all: another account sees other things. */
  clear() {
    for (const map of [this.hubs, this.devices, this.#open, this.#next]) map.clear();
    for (const list of [this.asks, this.events, this.#waiting]) list.length = 0;
    this.offline();
  }

  /** A person wants a property to have a value. While an earlier request for it is open, only the last wish is kept. */
  want(device, property, payload) {
    const place = `${device}/${property}`;
    if (this.latest(device, property)?.state === 'asking') {
      this.#next.set(place, payload);
    } else {
      this.#ask(device, property, payload, { person: true });
    }
    this.#world.changed();
  }

  /** Asks once more for what has failed: a new request. */
  again(ask) { this.want(ask.device, ask.property, ask.payload); }

  /** Returns the last request of a person for a property. */
  latest(device, property) { return this.asks.find((ask) => ask.device === device && ask.property === property); }

  /** Returns what is asked for once the open request for a property has ended. */
  next(device, property) { return this.#next.get(`${device}/${property}`); }

  /** Ends what has waited for too long. */
  tick() {
    const now = this.#world.now();
    for (const ask of this.#open.values()) {
      if (now < (this.isOnline ? ask.deadline : ask.sent + LATEST * 1000)) continue;
      // What was sent may have been done, and its answer lost: nobody can tell.
      if (ask.isSent) this.#finish(ask, 'unknown', 0, 'no-answer');
      else this.#finish(ask, 'failed', 0, 'offline');
    }
    if (!this.isOnline || now < this.#lookAgain) return;
    this.#lookAgain = now + AGAIN * 1000;
    for (const device of this.devices.values()) {
      if (!device.properties && device.status && this.isAskable(device)) this.#describe(device.id);
    }
  }

  /** PUBACK says that the broker has the request, and no more (4.4); a code from 0x80 on, that it has not. */
  published(key, code, reason) {
    const ask = this.#open.get(key);
    if (!ask) return;
    if (code >= 0x80) this.#finish(ask, 'failed', code, reason ?? 'not-permitted');
    else if (code === 0x10) this.#finish(ask, 'failed', code, 'nobody');
  }

  message({ topic, payload, properties, retain }) {
    const found = this.#world.topics.parse(this.prefix, topic);
    if (!found) return;
    try {
      this.#take(found, text.decode(payload), retain, properties);
    } catch (error) {
      // One who writes nonsense below the prefix must not take the page away from all others.
      if (!(error instanceof TypeError)) throw error;
    }
    this.#world.changed();
  }

  #take({ kind, device, property, client_id: client }, content, retain, properties) {
    if (kind === 'response' && client === this.clientId) this.#answered(properties, content);
    else if (kind === 'state') this.#state(device, property, content, properties);
    else if (kind === 'presence') this.#presence(client, content, retain, properties);
    else if (kind === 'absence') this.#absence(client, content);
    else if (kind === 'event') this.#event(device, content);
  }

  /** Returns why a device cannot be asked: none where it can. */
  away(device) {
    const hub = this.hubs.get(device.hub);
    if (hub && !hub.online) return 'hub-away';
    return device.status && device.status !== 'ready' ? device.status : null;
  }

  /** Returns whether requests to a device are of use: one that is out of reach still tries. */
  isAskable(device) { return [null, 'unreachable'].includes(this.away(device)); }

  saved() {
    return { asks: [...this.#open.values()].filter((ask) => ask.person), clientId: this.clientId };
  }

  /** Takes up requests that were open when the page was left. */
  restore({ asks = [] }) {
    for (const ask of asks) {
      if (this.#world.now() >= ask.sent + LATEST * 1000) continue;
      this.#open.set(ask.key, ask);
      this.asks.unshift(ask);
    }
  }

  #ask(device, property, payload, { person = false, done } = {}) {
    const key = [...this.#world.random(12)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    const sent = this.#world.now();
    const ask = { key, device, property, payload, person, done, sent, deadline: sent + EXPIRY * 1000, state: 'asking' };
    this.#open.set(key, ask);
    if (person) {
      this.asks.unshift(ask);
      this.asks.length = Math.min(this.asks.length, RING);
    }
    this.#send(ask);
  }

  /** Sends a request for the first time, or once more; where there is no connection, the next one does it. */
  #send(ask) {
    const now = this.#world.now();
    const isRepeat = ask.isSent;
    ask.deadline = Math.min(now + EXPIRY * 1000, ask.sent + LATEST * 1000);
    const left = Math.ceil((ask.deadline - now) / 1000);
    if (left < 1) return;
    // An empty payload reads, so a person's empty text is written as JSON.
    const isEmpty = ask.person && ask.payload === '';
    ask.isSent = this.#world.publish(ask.key, this.#topic('request', { device: ask.device, property: ask.property }), isEmpty ? '""' : ask.payload, {
      payloadFormat: 1,
      ...(isEmpty && { contentType: 'application/json' }),
      expiry: left,
      responseTopic: this.#topic('response', { client_id: this.clientId, purpose: 'page' }),
      correlation: bytesOf(ask.key),
      ...(isRepeat && { user: { retry: '1' } }),
    }) || isRepeat;
  }

  #answered({ correlation, user }, content) {
    const ask = correlation && this.#open.get(hexOf(correlation));
    if (!ask) return;
    const status = Number(user.get('__stat'));
    const reason = user.get('reason');
    const message = user.get('__stMsg') ?? '';
    if (status >= 200 && status < 300) this.#finish(ask, 'done', status, content);
    else if (reason === 'superseded') this.#finish(ask, 'done', status, message);
    else this.#finish(ask, reason === 'indeterminate' ? 'unknown' : 'failed', status, message);
  }

  #finish(ask, state, status, message) {
    Object.assign(ask, { state, status, message, ended: this.#world.now() });
    this.#open.delete(ask.key);
    ask.done?.(ask);
    this.#start();
    if (ask.person) {
      this.#world.told(ask);
      const place = `${ask.device}/${ask.property}`;
      const next = this.#next.get(place);
      if (this.#next.delete(place) && next !== ask.payload) this.#ask(ask.device, ask.property, next, { person: true });
    }
    this.#world.changed();
  }

  // What the page asks by itself waits for its turn, so that a large home is not asked all at once.
  #look(device, property, done) {
    const isSame = (it) => it.device === device && it.property === property && !it.person;
    if (this.#waiting.some(isSame) || [...this.#open.values()].some(isSame)) return;
    this.#waiting.push({ device, property, done });
    this.#start();
  }

  #start() {
    let under = [...this.#open.values()].filter((ask) => !ask.person).length;
    for (; this.isOnline && under < AT_ONCE && this.#waiting.length; under++) {
      const { device, property, done } = this.#waiting.shift();
      this.#ask(device, property, '', { done: (ask) => {
        const said = ask.state === 'done' && parsed(ask.message);
        if (said) done(said);
      } });
    }
  }

  #discover(hub) {
    if (!this.hubs.get(hub)?.online) return;
    this.#look(hub, 'devices', (list) => {
      for (const { id, state, reason, since, properties, room } of list) {
        const device = this.#device(id);
        Object.assign(device, { hub, status: state, reason, since: dated(since), room: room ?? device.room });
        for (const [name, value] of Object.entries(properties)) {
          if (!device.values.has(name)) device.values.set(name, typeof value === 'string' ? value : JSON.stringify(value));
        }
      }
    });
    this.#look(hub, 'absences', (list) => { this.hubs.get(hub).absences = list.reverse(); });
  }

  #describe(id) {
    this.#look(id, 'describe', ({ name, kind, room, properties }) => {
      const device = this.devices.get(id);
      if (!device) return;
      const before = JSON.stringify([device.name, device.kind, device.room, device.properties]);
      Object.assign(device, { name: String(name ?? id), kind, room: room && String(room), properties: understood(properties) });
      const now = JSON.stringify([device.name, device.kind, device.room, device.properties]);
      if (now !== before) device.version = (device.version ?? 0) + 1;
    });
  }

  #device(id) {
    if (!this.devices.has(id)) {
      this.devices.set(id, { id, name: id, values: new Map(), times: new Map(), properties: null, problem: '' });
      this.#describe(id);
    }
    return this.devices.get(id);
  }

  #state(id, name, content, { user }) {
    if (name === 'status') {
      if (!content) return this.devices.delete(id);
      const device = this.#device(id);
      const changed = device.status !== content;
      const reason = user.get('reason');
      Object.assign(device, { status: content, hub: user.get('hub') ?? device.hub, since: dated(user.get('since')) });
      if (changed || reason) device.reason = reason ?? '';
      // Else, why it is not ready, the hub says in its list.
      if (changed && content !== 'ready' && !reason && device.hub) this.#discover(device.hub);
    } else if (this.devices.has(id) || content) {
      const device = this.#device(id);
      if (name === 'problem') device.problem = content;
      else {
        device.values.set(name, content.slice(0, LONGEST));
        if (device.properties && !(name in device.properties)) this.#describe(id);
      }
    }
  }

  #presence(id, content, retain, { user }) {
    if (!content) return this.hubs.delete(id);
    const hub = this.hubs.get(id) ?? { absences: [] };
    const [was, online] = [hub.online, content === 'online'];
    this.hubs.set(id, Object.assign(hub, { online }));
    if (online) {
      hub.since = null;
      if (!was) {
        this.#discover(id);
        for (const device of this.devices.values()) if (device.hub === id && device.properties) this.#describe(device.id);
      }
    } else if (was !== false) {
      // A retained message does not say when it was published, but for that of a hub that has ended in order.
      const at = Date.parse(user.get('at') ?? '');
      hub.since = Number.isNaN(at) ? this.#world.now() : at;
      hub.isExact = !retain || !Number.isNaN(at);
    }
  }

  #absence(id, content) {
    const hub = this.hubs.get(id) ?? { absences: [] };
    this.hubs.set(id, hub);
    const absence = content && parsed(content);
    if (!absence) return;
    hub.absences = [absence, ...hub.absences.filter((it) => it.generation !== absence.generation)].slice(0, RING);
  }

  #event(device, content) {
    const event = { at: this.#world.now(), device, ...(parsed(content) ?? { event: content }) };
    this.events.unshift(event);
    const known = this.devices.get(device);
    // A property of type event has no state: what is shown of it is what happened last.
    if (known?.properties?.[event.property]?.type === 'event' && typeof event.event === 'string' && event.event !== 'failed') {
      known.values.set(event.property, event.event);
      known.times.set(event.property, event.at);
    }
    this.events.length = Math.min(this.events.length, RING);
  }
}

/** Returns the declarations that make sense. */
function understood(properties) {
  const isNumber = (value) => value === undefined || typeof value === 'number';
  const makesSense = ({ type, access, values, min, max, step }) => (type === 'event' || ['switch', 'integer', 'number', 'enum', 'text', 'json'].includes(type)
    && ['r', 'w', 'rw'].includes(access)) && [min, max, step].every(isNumber)
    && (type !== 'enum' || (Array.isArray(values) && values.every((value) => typeof value === 'string')));
  return Object.fromEntries(Object.entries(properties).filter(([, declaration]) => declaration && makesSense(declaration)));
}

/** Returns a time in milliseconds; none where it is none. */
function dated(text) {
  const at = Date.parse(text ?? '');
  return Number.isNaN(at) ? null : at;
}

function parsed(content) {
  try {
    const value = JSON.parse(content);
    return value && typeof value === 'object' ? value : null;
  } catch { return null; }
}

const hexOf = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
