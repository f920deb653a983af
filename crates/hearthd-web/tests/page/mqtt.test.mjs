// The page's codec, against bytes written by hand from the standard.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as mqtt from '../../page/mqtt.mjs';

const bytes = (text) => Uint8Array.from(text.split(/\s+/), (byte) => (byte.length === 2 ? parseInt(byte, 16) : byte.charCodeAt(0)));
const text = (payload) => new TextDecoder().decode(payload);

test('connect asks for Response Information and carries the login', () => {
  const packet = mqtt.connect({ clientId: 'web-1', username: 'anna', password: 'pw', keepAlive: 30 });
  assert.deepEqual(packet, bytes('10 23 00 04 M Q T T 05 C2 00 1E 07 19 01 27 00 10 00 00 00 05 w e b - 1 00 04 a n n a 00 02 p w'));
});

test('a login without a user name has no password either', () => {
  const packet = mqtt.connect({ clientId: 'x', username: '', password: 'pw', keepAlive: 30 });
  assert.equal(packet[9], 0x02);
  assert.equal(packet[1] + 2, packet.length);
});

test('a request has its response topic, correlation data, expiry and mark', () => {
  const packet = mqtt.publish({
    topic: 'a/b', id: 0x0102, payload: 'ON',
    properties: { payloadFormat: 1, expiry: 10, responseTopic: 'r', correlation: Uint8Array.of(7, 8), user: { retry: '1' } },
  });
  const wanted = '32 25 00 03 a / b 01 02 1B 01 01 02 00 00 00 0A 08 00 01 r 09 00 02 07 08 26 00 05 r e t r y 00 01 1 O N';
  assert.deepEqual(packet, bytes(wanted));
});

test('what is longer than 127 bytes has a longer length', () => {
  const packet = mqtt.publish({ topic: 't', id: 1, payload: 'x'.repeat(200) });
  assert.deepEqual([...packet.slice(0, 3)], [0x32, 0xCE, 0x01]);
  assert.equal(mqtt.decode(packet).payload.length, 200);
});

test('subscribe asks for quality of service 1', () => {
  assert.deepEqual(mqtt.subscribe(9, ['a/#', 'b']), bytes('82 0D 00 09 00 00 03 a / # 01 00 01 b 01'));
});

test('a publish is read with its properties', () => {
  const packet = mqtt.decode(bytes('33 1B 00 01 t 00 05 13 09 00 02 07 08 26 00 06 _ _ s t a t 00 03 2 0 0 O K'));
  assert.equal(packet.type, mqtt.PUBLISH);
  assert.deepEqual([packet.topic, packet.qos, packet.id, packet.retain, text(packet.payload)], ['t', 1, 5, true, 'OK']);
  assert.deepEqual([...packet.properties.correlation], [7, 8]);
  assert.equal(packet.properties.user.get('__stat'), '200');
});

test('of a user property that is there twice the first counts', () => {
  const packet = mqtt.decode(mqtt.publish({ topic: 't', id: 1, payload: '', properties: { user: { a: '1', b: '2' } } }));
  assert.deepEqual([...packet.properties.user], [['a', '1'], ['b', '2']]);
  const twice = mqtt.decode(bytes('30 12 00 01 t 0E 26 00 01 a 00 01 1 26 00 01 a 00 01 2'));
  assert.deepEqual([...twice.properties.user], [['a', '1']]);
});

test('connack, suback, puback, disconnect and pingresp are read, also in their shortest form', () => {
  const connack = mqtt.decode(bytes('20 0B 00 00 08 1A 00 05 a l i c e'));
  assert.deepEqual([connack.type, connack.code, connack.properties.responseInformation], [mqtt.CONNACK, 0, 'alice']);
  assert.deepEqual(mqtt.decode(bytes('90 05 00 07 00 01 87')).codes, [1, 0x87]);
  assert.deepEqual([mqtt.decode(bytes('40 02 00 07')).code, mqtt.decode(bytes('40 03 00 07 10')).code], [0, 0x10]);
  assert.equal(mqtt.decode(bytes('E0 00')).code, 0);
  assert.equal(mqtt.decode(bytes('E0 01 8E')).code, 0x8e);
  assert.equal(mqtt.decode(bytes('D0 00')).type, mqtt.PINGRESP);
});

test('packets come in pieces and together, however the stream is cut', () => {
  const stream = [mqtt.publish({ topic: 'a', id: 1, payload: 'x'.repeat(300) }), mqtt.puback(3), mqtt.publish({ topic: 'b', id: 2, payload: '' })];
  const all = Uint8Array.from(stream.flatMap((packet) => [...packet]));
  for (const size of [1, 2, 3, 7, 100, all.length]) {
    const decoder = new mqtt.Decoder();
    const found = [];
    for (let at = 0; at < all.length; at += size) found.push(...decoder.push(all.slice(at, at + size)));
    assert.deepEqual(found.map((packet) => packet.topic ?? packet.id), ['a', 3, 'b'], `pieces of ${size}`);
  }
});

test('whatever is malformed is an error, never a guess', () => {
  for (const wrong of ['30 03 00 09 t', '30 05 00 01 t 02 7F', '30 06 00 02 C3 28 00 x', '50 00', '20 03 00 00 05', '30 05 00 01 t 01 7F']) {
    assert.throws(() => mqtt.decode(bytes(wrong)), wrong);
  }
  assert.throws(() => new mqtt.Decoder().push(bytes('30 FF FF FF FF')));
  assert.throws(() => new mqtt.Decoder().push(bytes('30 FF FF FF 7F')), /too large/);
});

test('response information is a prefix, with or without its placement', () => {
  assert.equal(mqtt.prefixOf(undefined), '');
  assert.equal(mqtt.prefixOf('alice'), 'alice');
  assert.equal(mqtt.prefixOf('FRONT,alice/home'), 'alice/home');
  assert.equal(mqtt.prefixOf('FRONT, alice/'), 'alice');
  for (const wrong of ['BACK,alice', 'FRONT,', 'a+b', '#', '$share', 'a//b', 'a\0']) assert.throws(() => mqtt.prefixOf(wrong), wrong);
});
