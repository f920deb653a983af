// The part of MQTT 5 that the page speaks: packets to bytes and back. Section numbers are those of the OASIS standard.
// A codec of its own: what the page needs is a tenth of what the libraries for browsers weigh.

export const CONNACK = 2, PUBLISH = 3, PUBACK = 4, SUBACK = 9, PINGRESP = 13, DISCONNECT = 14;

/** Largest packet that the page takes, in bytes; CONNECT tells the broker (3.1.2.11.4). */
export const LARGEST = 1 << 20;

// Identifier, name and type of the properties (2.2.2.2).
const PROPERTIES = [
  [0x01, 'payloadFormat', 'byte'], [0x02, 'expiry', 'u32'], [0x03, 'contentType', 'text'], [0x08, 'responseTopic', 'text'],
  [0x09, 'correlation', 'bytes'], [0x0b, 'subscription', 'variable'], [0x11, 'sessionExpiry', 'u32'],
  [0x12, 'assignedClientId', 'text'], [0x13, 'keepAlive', 'u16'], [0x15, 'authMethod', 'text'], [0x16, 'authData', 'bytes'],
  [0x17, 'requestProblem', 'byte'], [0x18, 'willDelay', 'u32'], [0x19, 'requestResponse', 'byte'],
  [0x1a, 'responseInformation', 'text'], [0x1c, 'serverReference', 'text'], [0x1f, 'reason', 'text'],
  [0x21, 'receiveMaximum', 'u16'], [0x22, 'topicAliasMaximum', 'u16'], [0x23, 'topicAlias', 'u16'],
  [0x24, 'maximumQos', 'byte'], [0x25, 'retainAvailable', 'byte'], [0x26, 'user', 'pair'], [0x27, 'maximumPacket', 'u32'],
  [0x28, 'wildcardAvailable', 'byte'], [0x29, 'identifiersAvailable', 'byte'], [0x2a, 'sharedAvailable', 'byte'],
];
const BY_ID = new Map(PROPERTIES.map(([id, name, type]) => [id, [name, type]]));
const BY_NAME = new Map(PROPERTIES.map(([id, name, type]) => [name, [id, type]]));

const encoder = new TextEncoder();
const strict = new TextDecoder('utf-8', { fatal: true });

class Writer {
  bytes = [];
  byte(value) { this.bytes.push(value); }
  u16(value) { this.bytes.push(value >> 8 & 255, value & 255); }
  u32(value) { this.u16(value >>> 16); this.u16(value & 0xffff); }
  variable(value) {
    do {
      const rest = value >>> 7;
      this.byte(value & 127 | (rest ? 128 : 0));
      value = rest;
    } while (value);
  }
  raw(bytes) { for (const byte of bytes) this.bytes.push(byte); }
  // `fields` are what MQTT calls Binary Data and UTF-8 Encoded String: both have their length first (1.5.4, 1.5.6).
  field(bytes) {
    if (bytes.length > 0xffff) throw new Error('too long for MQTT');
    this.u16(bytes.length);
    this.raw(bytes);
  }
  text(text) { this.field(encoder.encode(text)); }
  properties(properties = {}) {
    const inner = new Writer();
    for (const [name, value] of Object.entries(properties)) {
      const [id, type] = BY_NAME.get(name);
      if (type === 'pair') {
        for (const [key, text] of Object.entries(value)) { inner.byte(id); inner.text(key); inner.text(text); }
      } else {
        inner.byte(id);
        inner[type === 'bytes' ? 'field' : type](value);
      }
    }
    this.variable(inner.bytes.length);
    this.raw(inner.bytes);
  }
  packet(first) {
    const whole = new Writer();
    whole.byte(first);
    whole.variable(this.bytes.length);
    whole.raw(this.bytes);
    return Uint8Array.from(whole.bytes);
  }
}

/** Writes CONNECT (3.1): a clean start, and Response Information is asked for. */
export function connect({ clientId, username, password, keepAlive }) {
  const body = new Writer();
  body.text('MQTT');
  body.byte(5);
  body.byte(0x02 | (username ? 0x80 : 0) | (username && password ? 0x40 : 0));
  body.u16(keepAlive);
  body.properties({ requestResponse: 1, maximumPacket: LARGEST });
  body.text(clientId);
  if (username) body.text(username);
  if (username && password) body.text(password);
  return body.packet(0x10);
}

/** Writes PUBLISH with QoS 1 (3.3). */
export function publish({ topic, id, payload, properties, dup }) {
  const body = new Writer();
  body.text(topic);
  body.u16(id);
  body.properties(properties);
  body.raw(encoder.encode(payload));
  return body.packet(0x32 | (dup ? 8 : 0));
}

/** Writes PUBACK (3.4). */
export function puback(id) {
  const body = new Writer();
  body.u16(id);
  return body.packet(0x40);
}

/** Writes SUBSCRIBE for QoS 1 (3.8). */
export function subscribe(id, filters) {
  const body = new Writer();
  body.u16(id);
  body.properties();
  for (const filter of filters) { body.text(filter); body.byte(1); }
  return body.packet(0x82);
}

export const pingreq = () => Uint8Array.of(0xc0, 0);
export const disconnect = () => Uint8Array.of(0xe0, 0);

class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  get left() { return this.bytes.length - this.at; }
  raw(length) {
    if (length > this.left) throw new Error('the packet is too short');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  byte() { return this.raw(1)[0]; }
  u16() { return this.byte() << 8 | this.byte(); }
  u32() { return this.u16() * 65536 + this.u16(); }
  variable() {
    for (let value = 0, factor = 1; factor <= 128 ** 3; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw new Error('a length has more than four bytes');
  }
  field() { return this.raw(this.u16()); }
  text() { return strict.decode(this.field()); }
  properties() {
    const found = { user: new Map() };
    const inner = new Reader(this.raw(this.variable()));
    while (inner.left) {
      const known = BY_ID.get(inner.variable());
      if (!known) throw new Error('an unknown property');
      const [name, type] = known;
      // Of a name that is there twice the first counts.
      if (type === 'pair') {
        const [key, value] = [inner.text(), inner.text()];
        if (!found.user.has(key)) found.user.set(key, value);
      } else found[name] = inner[type === 'bytes' ? 'field' : type]();
    }
    return found;
  }
}

/** Cuts a stream of bytes into packets. */
export class Decoder {
  #left = new Uint8Array(0);

  /** Takes bytes, and returns the packets that are whole now. */
  push(bytes) {
    const all = new Uint8Array(this.#left.length + bytes.length);
    all.set(this.#left);
    all.set(bytes, this.#left.length);
    const packets = [];
    let at = 0;
    for (let end; (end = endOf(all, at)); at = end) packets.push(decode(all.slice(at, end)));
    this.#left = all.slice(at);
    return packets;
  }
}

/** Returns where a packet ends; 0 where it is not whole (2.1.4). */
function endOf(bytes, start) {
  for (let length = 0, index = 1; index <= 4; index++) {
    if (start + index >= bytes.length) return 0;
    const byte = bytes[start + index];
    length += (byte & 127) * 128 ** (index - 1);
    if (byte < 128) {
      if (length > LARGEST) throw new Error('the packet is too large');
      const end = start + index + 1 + length;
      return end <= bytes.length ? end : 0;
    }
  }
  throw new Error('a length has more than four bytes');
}

/** Reads a packet that is whole. */
export function decode(bytes) {
  const type = bytes[0] >> 4;
  const reader = new Reader(bytes);
  reader.byte();
  reader.variable();
  switch (type) {
    case CONNACK: {
      reader.byte();
      return { type, code: reader.byte(), properties: reader.properties() };
    }
    case PUBLISH: {
      const qos = bytes[0] >> 1 & 3;
      const topic = reader.text();
      const id = qos ? reader.u16() : 0;
      const properties = reader.properties();
      return { type, qos, topic, id, properties, retain: (bytes[0] & 1) === 1, payload: reader.raw(reader.left) };
    }
    case PUBACK: {
      const id = reader.u16();
      const code = reader.left ? reader.byte() : 0;
      return { type, id, code, properties: reader.left ? reader.properties() : { user: new Map() } };
    }
    case SUBACK: {
      const id = reader.u16();
      const properties = reader.properties();
      return { type, id, properties, codes: [...reader.raw(reader.left)] };
    }
    case PINGRESP:
      return { type };
    case DISCONNECT: {
      const code = reader.left ? reader.byte() : 0;
      return { type, code, properties: reader.left ? reader.properties() : { user: new Map() } };
    }
    default:
      throw new Error(`a packet of type ${type}`);
  }
}

/** Reads Response Information: `alice`, or `FRONT,alice` with its placement. Returns none where there is none to use. */
export function prefixOf(information) {
  if (!information) return '';
  const [front, value] = information.includes(',') ? information.split(/, *(.*)/s) : ['FRONT', information];
  const rest = value.replace(/\/$/, '');
  const usable = front === 'FRONT' && rest && !/[+#\0]/.test(rest) && !rest.startsWith('$') && rest.split('/').every(Boolean);
  if (!usable) throw new Error(`Response Information \`${information}\``);
  return rest;
}
