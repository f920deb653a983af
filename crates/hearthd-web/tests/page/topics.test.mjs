// Topic names, under a prefix, without one, and with templates of the operator's own.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Topics } from '../../page/topics.mjs';

test('names and filters are made under a prefix and without one', () => {
  const topics = new Topics();
  const lamp = { device: 'lamp', property: 'power' };
  assert.equal(topics.name('request', 'alice', lamp), 'alice/cmnd/lamp/power');
  assert.equal(topics.name('request', '', lamp), 'cmnd/lamp/power');
  assert.equal(topics.name('state', 'a/b'), 'a/b/state/+/+');
  assert.equal(topics.name('response', 'alice', { client_id: 'web-1' }), 'alice/response/web-1/+');
});

test('a name is taken apart as it was made, and those of others are none', () => {
  const topics = new Topics();
  assert.deepEqual(topics.parse('alice', 'alice/state/lamp/power'), { kind: 'state', device: 'lamp', property: 'power' });
  assert.deepEqual(topics.parse('', 'hub/pi/presence'), { kind: 'presence', client_id: 'pi' });
  for (const other of ['bob/state/lamp/power', 'alice/state/lamp', 'alice/state//power', 'alice/state/lamp/power/x', 'alice/cmnd/lamp/power']) {
    assert.equal(topics.parse('alice', other), null, other);
  }
});

test('changed templates are used both ways, also with the placeholders in another order', () => {
  const topics = new Topics({ state: 'home/{property}/of/{device}', request: '{prefix}/set/{property}/{device}' });
  assert.equal(topics.name('request', 'alice', { device: 'lamp', property: 'power' }), 'alice/set/power/lamp');
  assert.equal(topics.name('state', 'alice'), 'home/+/of/+');
  assert.deepEqual(topics.parse('alice', 'home/power/of/lamp'), { kind: 'state', property: 'power', device: 'lamp' });
  assert.equal(topics.parse('alice', 'alice/state/lamp/power'), null);
});
