// One connection to the broker after another: MQTT 5 through the WebSocket that the page came from.

import * as mqtt from './mqtt.mjs';

const KEEP_ALIVE = 30;
const PATIENCE = 10;
const FIRST_PAUSE = 0.5;
const LONGEST_PAUSE = 15;

/** CONNACK's codes after which another try with the same login is of no use (3.2.2.2). */
const REFUSED = new Set([0x84, 0x85, 0x86, 0x87, 0x8a, 0x8c]);

/**
 * Keeps a connection. It tells its owner
 *   `online(prefix)`        CONNACK has come, and the page's own response topics are subscribed to;
 *   `offline(reason)`       the connection is lost; it tries again by itself;
 *   `handed(password)`      the login was with a pairing code, and this is the account's password from now on;
 *   `refused(code, reason)` the broker refuses the login; it does not try again;
 *   `message(packet)`       a PUBLISH;
 *   `published(key, code, reason)`  PUBACK for what `publish(key, ..)` sent.
 */
export class Connection {
  #owner; #open; #login; #clientId;
  #socket = null; #decoder = null; #ids = new Map(); #lastId = 0; #subscribing = null;
  #timers = new Set(); #heard = 0; #attempts = 0; #ended = false;
  isOnline = false;

  /** `open()` makes a WebSocket. */
  constructor(owner, { open, login, clientId }) {
    this.#owner = owner;
    this.#open = open;
    this.#login = login;
    this.#clientId = clientId;
    this.#connect();
  }

  /** Ends it in order. */
  end() {
    this.#ended = true;
    if (this.isOnline) this.#send(mqtt.disconnect());
    this.#close();
  }

  /** Looks whether the connection still is what it seems: the phone may have slept. */
  wake() {
    if (this.#ended) return;
    if (!this.#socket) {
      this.#attempts = 0;
      this.#connect();
    } else if (this.isOnline) {
      this.#ping(3);
    }
  }

  /** Publishes with QoS 1; where there is no connection, it returns false. */
  publish(key, topic, payload, properties) {
    if (!this.isOnline) return false;
    const id = this.#nextId();
    this.#ids.set(id, key);
    return this.#send(mqtt.publish({ topic, id, payload, properties }));
  }

  #connect() {
    this.#stopTimers();
    this.#attempts += 1;
    const socket = this.#open();
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#decoder = new mqtt.Decoder();
    this.#ids.clear();
    this.#later(PATIENCE, () => this.#lost('no answer'));
    socket.onopen = () => this.#send(mqtt.connect({ ...this.#login, clientId: this.#clientId(), keepAlive: KEEP_ALIVE }));
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      this.#heard = Date.now();
      try {
        for (const packet of this.#decoder.push(new Uint8Array(data))) this.#take(packet);
      } catch (error) {
        this.#lost(String(error.message));
      }
    };
    socket.onclose = ({ reason }) => { if (socket === this.#socket) this.#lost(reason); };
  }

  #take(packet) {
    switch (packet.type) {
      case mqtt.CONNACK: return this.#accepted(packet);
      case mqtt.PUBLISH:
        if (packet.qos) this.#send(mqtt.puback(packet.id));
        return this.#owner.message(packet);
      case mqtt.PUBACK: {
        const key = this.#ids.get(packet.id);
        this.#ids.delete(packet.id);
        return key !== undefined && this.#owner.published(key, packet.code, packet.properties.reason);
      }
      case mqtt.SUBACK: return this.#subscribed(packet);
      case mqtt.DISCONNECT: return this.#lost(packet.properties.reason ?? '', packet.code);
    }
  }

  #accepted({ code, properties }) {
    if (code) {
      if (!REFUSED.has(code)) return this.#lost(properties.reason ?? `code ${code}`);
      this.#ended = true;
      this.#close();
      return this.#owner.refused(code, properties.reason);
    }
    const password = properties.user?.get('password');
    if (password !== undefined) {
      this.#login = { ...this.#login, password };
      this.#owner.handed(password);
    }
    const prefix = mqtt.prefixOf(properties.responseInformation);
    const clientId = properties.assignedClientId ?? this.#clientId();
    // The response topics first, and alone: a request leaves only once its answer has a way back.
    const filter = this.#owner.responseFilter(prefix, clientId);
    this.#subscribing = { id: this.#nextId(), prefix, others: this.#owner.filters(prefix) };
    this.#send(mqtt.subscribe(this.#subscribing.id, [filter]));
  }

  #subscribed({ id, codes }) {
    if (id !== this.#subscribing?.id) return;
    const { prefix, others } = this.#subscribing;
    this.#subscribing = null;
    if (codes[0] >= 0x80) return this.#lost('the broker refuses the response topics', codes[0]);
    // What an account may not read is not shown; that is no reason to do without the rest.
    this.#send(mqtt.subscribe(this.#nextId(), others));
    this.#stopTimers();
    this.#attempts = 0;
    this.isOnline = true;
    this.#keepAlive();
    this.#owner.online(prefix);
  }

  #keepAlive() {
    this.#later(KEEP_ALIVE - PATIENCE, () => { this.#ping(PATIENCE); this.#keepAlive(); });
  }

  #ping(patience) {
    const asked = Date.now();
    this.#send(mqtt.pingreq());
    this.#later(patience, () => { if (this.#heard < asked) this.#lost('no answer'); });
  }

  #lost(reason, code) {
    if (!this.#socket) return;
    this.#close();
    if (this.#ended) return;
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** Math.min(this.#attempts - 1, 8)) * (0.5 + Math.random());
    this.#later(pause, () => this.#connect());
    this.#owner.offline(reason, code);
  }

  #close() {
    this.#stopTimers();
    this.isOnline = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #send(bytes) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(bytes);
    return true;
  }

  #nextId() {
    do this.#lastId = this.#lastId % 0xffff + 1; while (this.#ids.has(this.#lastId));
    return this.#lastId;
  }

  #later(seconds, work) {
    const timer = setTimeout(() => { this.#timers.delete(timer); work(); }, seconds * 1000);
    this.#timers.add(timer);
  }

  #stopTimers() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }
}
