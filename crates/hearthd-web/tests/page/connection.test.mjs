// The page's connection, against a broker of a few lines.

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { Connection } from '../../page/connection.mjs';
import * as mqtt from '../../page/mqtt.mjs';

const CONNACK = [0x20, 0x0b, 0, 0, 8, 0x1a, 0, 5, ...new TextEncoder().encode('alice')];
const suback = (id, ...codes) => [0x90, 3 + codes.length, id >> 8, id & 255, 0, ...codes];

function start() {
  const world = { sockets: [], log: [], clientId: 'web-1' };
  const owner = {
    responseFilter: (prefix, id) => `${prefix}/response/${id}/#`,
    filters: (prefix) => [`${prefix}/state/+/+`],
    online: (prefix) => world.log.push(['online', prefix]),
    offline: (reason, code) => world.log.push(['offline', reason, code]),
    refused: (code, reason) => world.log.push(['refused', code, reason]),
    handed: (password) => world.log.push(['handed', password]),
    message: (packet) => world.log.push(['message', packet.topic]),
    published: (key, code) => world.log.push(['published', key, code]),
  };
  const open = () => {
    const socket = {
      readyState: 0, sent: [], closed: false,
      send: (bytes) => socket.sent.push([...bytes]),
      close: () => { socket.readyState = 3; socket.closed = true; },
    };
    world.sockets.push(socket);
    return socket;
  };
  world.connection = new Connection(owner, { open, login: { username: 'anna', password: 'x' }, clientId: () => world.clientId });
  world.socket = () => world.sockets.at(-1);
  world.receive = (bytes) => world.socket().onmessage({ data: Uint8Array.from(bytes).buffer });
  world.open = () => { world.socket().readyState = 1; world.socket().onopen(); };
  world.logIn = () => {
    world.open();
    world.receive(CONNACK);
    world.receive(suback(world.socket().sent[1][2] << 8 | world.socket().sent[1][3], 1));
  };
  return world;
}

const text = (bytes) => String.fromCharCode(...bytes);

test('it subscribes to its response topics alone, and nothing leaves before they are granted', () => {
  const world = start();
  world.open();
  assert.equal(world.socket().sent[0][0], 0x10);
  world.receive(CONNACK);
  assert.equal(world.socket().sent.length, 2);
  assert.match(text(world.socket().sent[1]), /alice\/response\/web-1\/#/);
  assert.equal(world.connection.publish('k', 't', '', {}), false);
  world.receive(suback(1, 1));
  assert.match(text(world.socket().sent[2]), /alice\/state\/\+\/\+/);
  assert.deepEqual(world.log, [['online', 'alice']]);
  assert.equal(world.connection.publish('k', 't', '', {}), true);
  const [, , , topic, , high, low] = world.socket().sent[3];
  assert.equal(topic, 1);
  world.receive([0x40, 3, high, low, 0x87]);
  assert.deepEqual(world.log.at(-1), ['published', 'k', 0x87]);
  world.connection.end();
  assert.deepEqual(world.socket().sent.at(-1), [0xe0, 0]);
});

test('a password that CONNACK hands out is told, and used from the next connection on', () => {
  const world = start();
  world.open();
  const [name, value] = ['password', 'lasting'].map((it) => [0, it.length, ...Buffer.from(it)]);
  const properties = [0x26, ...name, ...value];
  world.receive([0x20, 3 + properties.length, 0, 0, properties.length, ...properties]);
  assert.deepEqual(world.log, [['handed', 'lasting']]);
  world.socket().onclose({ reason: '' });
  world.connection.wake();
  world.open();
  assert.match(text(world.socket().sent[0]), /lasting$/);
  world.connection.end();
});

test('what comes with quality of service 1 is acknowledged', () => {
  const world = start();
  world.logIn();
  world.receive([...mqtt.publish({ topic: 'a', id: 9, payload: '' })]);
  assert.deepEqual(world.log.at(-1), ['message', 'a']);
  assert.deepEqual(world.socket().sent.at(-1), [0x40, 2, 0, 9]);
  world.connection.end();
});

test('a login that is refused is not tried again, and one that comes at a bad time is', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const refused = start();
    refused.open();
    refused.receive([0x20, 3, 0, 0x86, 0]);
    assert.deepEqual(refused.log, [['refused', 0x86, undefined]]);
    mock.timers.tick(60_000);
    assert.equal(refused.sockets.length, 1);
    const busy = start();
    busy.open();
    busy.receive([0x20, 3, 0, 0x9f, 0]);
    assert.deepEqual(busy.log, [['offline', 'code 159', undefined]]);
    mock.timers.tick(60_000);
    assert.ok(busy.sockets.length > 1);
    busy.connection.end();
  } finally { mock.timers.reset(); }
});

test('a lost connection is tried again, sooner where somebody looks', () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  try {
    const world = start();
    world.logIn();
    world.socket().onclose({ reason: 'the broker has closed the connection' });
    assert.deepEqual(world.log.at(-1), ['offline', 'the broker has closed the connection', undefined]);
    assert.equal(world.connection.isOnline, false);
    mock.timers.tick(2_000);
    assert.equal(world.sockets.length, 2);
    world.socket().onclose({ reason: '' });
    world.connection.wake();
    assert.equal(world.sockets.length, 3);
    world.logIn();
    assert.deepEqual(world.log.at(-1), ['online', 'alice']);
    world.connection.end();
  } finally { mock.timers.reset(); }
});

test('a connection that is silent is lost, and so is one that speaks nonsense', () => {
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  try {
    const world = start();
    world.logIn();
    const alive = world.socket();
    mock.timers.tick(20_000);
    assert.deepEqual(alive.sent.at(-1), [0xc0, 0]);
    mock.timers.tick(9_999);
    assert.equal(alive.closed, false);
    mock.timers.tick(1);
    assert.equal(alive.closed, true);
    assert.deepEqual(world.log.at(-1), ['offline', 'no answer', undefined]);
    mock.timers.tick(2_000);
    world.logIn();
    world.receive([0x50, 0]);
    assert.match(world.log.at(-1)[1], /type 5/);
    world.connection.end();
  } finally { mock.timers.reset(); }
});

test('who is taken over learns the code', () => {
  const world = start();
  world.logIn();
  world.receive([0xe0, 1, 0x8e]);
  assert.deepEqual(world.log.at(-1), ['offline', '', 0x8e]);
  world.connection.end();
});

test('without a way back for its answers it does not go on', () => {
  const world = start();
  world.open();
  world.receive(CONNACK);
  world.receive(suback(1, 0x87));
  assert.deepEqual(world.log, [['offline', 'the broker refuses the response topics', 0x87]]);
  world.connection.end();
});
