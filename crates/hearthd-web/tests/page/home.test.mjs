// What the page makes of messages: values are what the device says, and each request has one end.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Home } from '../../page/home.mjs';
import { Topics } from '../../page/topics.mjs';

const encoder = new TextEncoder();

function start({ saved, clientId = 'web-1' } = {}) {
  const world = { time: 1_000_000, sent: [], told: [], isLinked: true, last: 0 };
  const home = new Home({
    topics: new Topics(),
    now: () => world.time,
    random: (length) => Uint8Array.from({ length }, () => ++world.last & 255),
    publish: (key, topic, payload, properties) => world.isLinked && !!world.sent.push({ key, topic, payload, properties }),
    changed: () => {},
    told: (ask) => world.told.push(ask.state),
  });
  home.restore(saved ?? {});
  assert.equal(home.responseFilter('alice', clientId), `alice/response/${clientId}/+`);
  home.online();
  const message = (topic, payload, user = {}, more = {}) => home.message({
    topic: `alice/${topic}`, payload: encoder.encode(payload), retain: false,
    properties: { user: new Map(Object.entries(user)), ...more },
  });
  const answer = (sent, payload, user) => message(`response/${clientId}/page`, payload, user, { correlation: sent.properties.correlation });
  const asked = (topic) => world.sent.filter((it) => it.topic === `alice/cmnd/${topic}`);
  return { world, home, message, answer, asked };
}

const LAMP = JSON.stringify({ id: 'lamp', name: 'Lamp', kind: 'light', room: 'Bedroom', properties: { power: { type: 'switch', access: 'rw' } } });

function withLamp(options) {
  const at = start(options);
  at.message('hub/pi/presence', 'online');
  at.message('state/lamp/status', 'ready', { hub: 'pi' });
  at.message('state/lamp/power', 'OFF');
  at.answer(at.asked('lamp/describe')[0], LAMP, { __stat: '200' });
  at.lamp = at.home.devices.get('lamp');
  return at;
}

test('a device is found by its status and by the list of its hub, and described', () => {
  const { home, message, answer, asked } = start();
  message('hub/pi/presence', 'online');
  const [list] = asked('pi/devices');
  assert.equal(list.properties.responseTopic, 'alice/response/web-1/page');
  assert.equal(list.properties.correlation.length, 12);
  assert.equal(list.properties.expiry, 10);
  answer(list, JSON.stringify([{ id: 'lamp', name: 'Lamp', kind: 'light', state: 'ready', properties: { power: 'ON', brightness: 40 } }]), { __stat: '200' });
  const lamp = home.devices.get('lamp');
  assert.deepEqual([lamp.hub, lamp.values.get('power'), lamp.values.get('brightness')], ['pi', 'ON', '40']);
  answer(asked('lamp/describe')[0], LAMP, { __stat: '200' });
  assert.deepEqual([lamp.name, lamp.kind, lamp.room, Object.keys(lamp.properties)], ['Lamp', 'light', 'Bedroom', ['power']]);
  message('state/lamp/status', '');
  assert.equal(home.devices.size, 0);
});

test('a value changes once the device says so, and never because it was asked for', () => {
  const { home, lamp, message, answer, asked, world } = withLamp();
  home.want('lamp', 'power', 'ON');
  assert.deepEqual([home.latest('lamp', 'power').state, lamp.values.get('power')], ['asking', 'OFF']);
  answer(asked('lamp/power')[0], 'ON', { __stat: '200' });
  assert.deepEqual([home.latest('lamp', 'power').state, lamp.values.get('power'), world.told], ['done', 'OFF', ['done']]);
  message('state/lamp/power', 'ON');
  assert.equal(lamp.values.get('power'), 'ON');
});

test('a failure has its reason, the old value stays, and again is a new request', () => {
  const { home, lamp, answer, asked } = withLamp();
  home.want('lamp', 'power', 'ON');
  answer(asked('lamp/power')[0], '{}', { __stat: '503', __stMsg: 'unreachable since 13:05' });
  const failed = home.latest('lamp', 'power');
  assert.deepEqual([failed.state, failed.status, failed.message, lamp.values.get('power')], ['failed', 503, 'unreachable since 13:05', 'OFF']);
  home.again(failed);
  const [first, second] = asked('lamp/power');
  assert.notEqual(first.key, second.key);
  assert.equal(second.properties.user, undefined);
});

test('after a lost connection the same request goes out again, marked, and has one end', () => {
  const { home, answer, asked, world } = withLamp();
  home.want('lamp', 'power', 'ON');
  home.offline();
  world.time += 4_000;
  home.tick();
  assert.equal(home.latest('lamp', 'power').state, 'asking');
  home.online();
  const [first, again] = asked('lamp/power');
  assert.deepEqual(again.properties.correlation, first.properties.correlation);
  assert.equal(again.properties.responseTopic, first.properties.responseTopic);
  assert.deepEqual(again.properties.user, { retry: '1' });
  assert.equal(again.payload, 'ON');
  answer(again, 'ON', { __stat: '200', repeated: '2026-11-28T13:05:00Z' });
  answer(first, 'ON', { __stat: '200' });
  assert.deepEqual(world.told, ['done']);
});

test('a page that was left and is opened again repeats what was open', () => {
  const before = withLamp();
  before.home.want('lamp', 'power', 'ON');
  const saved = JSON.parse(JSON.stringify(before.home.saved()));
  const { asked, answer, home } = withLamp({ saved });
  const [repeat] = asked('lamp/power');
  assert.deepEqual([repeat.key, repeat.properties.user], [before.asked('lamp/power')[0].key, { retry: '1' }]);
  answer(repeat, 'ON', { __stat: '200' });
  assert.equal(home.latest('lamp', 'power').state, 'done');
});

test('where no answer comes nobody can tell, sooner on a connection that holds than on one that was lost', () => {
  const { home, world } = withLamp();
  home.want('lamp', 'power', 'ON');
  world.time += 9_999;
  home.tick();
  assert.equal(home.latest('lamp', 'power').state, 'asking');
  world.time += 1;
  home.tick();
  assert.deepEqual([home.latest('lamp', 'power').state, home.latest('lamp', 'power').message], ['unknown', 'no-answer']);
  home.want('lamp', 'power', 'ON');
  home.offline();
  world.time += 29_999;
  home.tick();
  assert.equal(home.latest('lamp', 'power').state, 'asking');
  world.time += 1;
  home.tick();
  assert.equal(home.latest('lamp', 'power').state, 'unknown');
});

test('a repeat never waits longer than thirty seconds after the tap', () => {
  const { home, asked, world } = withLamp();
  home.want('lamp', 'power', 'ON');
  home.offline();
  world.time += 25_000;
  home.online();
  assert.equal(asked('lamp/power')[1].properties.expiry, 5);
});

test('while a request is open only the last wish is kept, and follows it', () => {
  const { home, answer, asked } = withLamp();
  for (const wish of ['ON', 'OFF', 'ON', 'OFF']) home.want('lamp', 'power', wish);
  assert.deepEqual(asked('lamp/power').map((it) => it.payload), ['ON']);
  assert.equal(home.next('lamp', 'power'), 'OFF');
  answer(asked('lamp/power')[0], 'ON', { __stat: '200' });
  assert.deepEqual(asked('lamp/power').map((it) => it.payload), ['ON', 'OFF']);
  assert.equal(home.next('lamp', 'power'), undefined);
});

test('the causes of 409 differ in whether it was done', () => {
  for (const [reason, state] of [['stale', 'failed'], ['queued', 'failed'], ['indeterminate', 'unknown'], ['superseded', 'done']]) {
    const { home, answer, asked } = withLamp();
    home.want('lamp', 'power', 'ON');
    answer(asked('lamp/power')[0], '{}', { __stat: '409', __stMsg: `${reason}: x`, reason });
    assert.equal(home.latest('lamp', 'power').state, state, reason);
  }
});

test('PUBACK tells of refusals, and is no answer', () => {
  const { home, asked } = withLamp();
  home.want('lamp', 'power', 'ON');
  home.published(asked('lamp/power')[0].key, 0);
  assert.equal(home.latest('lamp', 'power').state, 'asking');
  home.published(asked('lamp/power')[0].key, 0x87);
  assert.deepEqual([home.latest('lamp', 'power').state, home.latest('lamp', 'power').message], ['failed', 'not-permitted']);
  home.want('lamp', 'power', 'ON');
  home.published(asked('lamp/power')[1].key, 0x10);
  assert.equal(home.latest('lamp', 'power').message, 'nobody');
});

test('a foreign answer changes nothing', () => {
  const { home, message } = withLamp();
  home.want('lamp', 'power', 'ON');
  message('response/web-1/page', 'ON', { __stat: '200' }, { correlation: new Uint8Array(12) });
  message('response/web-2/page', 'ON', { __stat: '200' });
  message('response/web-1/page', 'ON', { __stat: '200' });
  assert.equal(home.latest('lamp', 'power').state, 'asking');
});

test('a tap while the connection is just lost leaves with the next one, as a first request', () => {
  const { home, world, asked } = withLamp();
  home.offline();
  world.isLinked = false;
  home.want('lamp', 'power', 'ON');
  assert.deepEqual([home.latest('lamp', 'power').state, asked('lamp/power').length], ['asking', 0]);
  world.isLinked = true;
  home.online();
  assert.deepEqual(asked('lamp/power').map((it) => it.properties.user), [undefined]);
});

test('what could never be sent was not done, and it is said', () => {
  const { home, world } = withLamp();
  home.offline();
  world.isLinked = false;
  home.want('lamp', 'power', 'ON');
  world.time += 30_000;
  home.tick();
  assert.deepEqual([home.latest('lamp', 'power').state, home.latest('lamp', 'power').message], ['failed', 'offline']);
});

test('a hub that is away takes its devices with it, and says afterwards what became of its will', () => {
  const { home, lamp, message, world } = withLamp();
  assert.equal(home.away(lamp), null);
  message('hub/pi/presence', 'offline');
  const hub = home.hubs.get('pi');
  assert.deepEqual([home.away(lamp), hub.since, hub.isExact], ['hub-away', world.time, true]);
  message('hub/pi/presence', 'online');
  assert.equal(home.away(lamp), null);
  message('hub/pi/absence', JSON.stringify({ generation: 'kq3vn7zt', outcome: 'consumed', acknowledgements: [{ responder: 'guardian', payload: 'boiler off' }] }));
  message('hub/pi/absence', JSON.stringify({ generation: 'kq3vn7zt', outcome: 'consumed', acknowledgements: [] }));
  assert.deepEqual(hub.absences.map((it) => it.outcome), ['consumed']);
});

test('a retained offline tells no time but that of an end in order', () => {
  for (const [user, since, isExact] of [[{}, 1_000_000, false], [{ at: '2026-11-28T13:05:00Z' }, Date.parse('2026-11-28T13:05:00Z'), true]]) {
    const { home } = start();
    home.message({ topic: 'alice/hub/pi/presence', payload: encoder.encode('offline'), retain: true, properties: { user: new Map(Object.entries(user)) } });
    assert.deepEqual([home.hubs.get('pi').since, home.hubs.get('pi').isExact], [since, isExact]);
  }
});

test('a device that is not ready cannot be asked, but for one that is out of reach', () => {
  const { home, lamp, message } = withLamp();
  message('state/lamp/status', 'failed', { hub: 'pi' });
  assert.deepEqual([home.away(lamp), home.isAskable(lamp)], ['failed', false]);
  message('state/lamp/status', 'unreachable', { hub: 'pi', reason: 'no answer', since: '2026-11-28T13:05:00Z' });
  assert.deepEqual([home.away(lamp), home.isAskable(lamp)], ['unreachable', true]);
  assert.deepEqual([lamp.reason, lamp.since], ['no answer', Date.parse('2026-11-28T13:05:00Z')]);
  assert.equal(lamp.values.get('power'), 'OFF', 'what was last known');
  message('state/lamp/status', 'unreachable', { hub: 'pi', reason: 'no route', since: '2026-11-28T13:05:00Z' });
  assert.equal(lamp.reason, 'no route');
  message('state/lamp/status', 'ready', { hub: 'pi' });
  assert.deepEqual([home.away(lamp), lamp.reason, lamp.since], [null, '', null]);
  message('state/lamp/status', 'unreachable', { hub: 'pi' });
  message('state/lamp/problem', 'refused: still ON');
  assert.equal(lamp.problem, 'refused: still ON');
});

test('of a button the last event is shown, and no state', () => {
  const { home, lamp, message } = withLamp();
  lamp.properties.bell = { type: 'event', values: ['press', 'double'] };
  message('event/lamp', JSON.stringify({ event: 'failed', property: 'bell' }));
  message('event/lamp', JSON.stringify({ event: 'press', property: 'power' }));
  assert.equal(lamp.values.has('bell'), false);
  message('event/lamp', JSON.stringify({ event: 'press', property: 'bell' }));
  message('event/lamp', JSON.stringify({ event: 'double', property: 'bell' }));
  assert.deepEqual([lamp.values.get('bell'), lamp.times.get('bell'), home.events.length], ['double', home.events[0].at, 4]);
  assert.equal(lamp.values.get('power'), 'OFF');
});

test('rings keep the last fifty', () => {
  const { home, message, answer, asked } = withLamp();
  for (let number = 0; number < 60; number++) {
    home.want('lamp', 'power', number % 2 ? 'ON' : 'OFF');
    answer(asked('lamp/power').at(-1), '', { __stat: '204' });
    message('event/lamp', JSON.stringify({ event: 'failed', number }));
  }
  assert.deepEqual([home.asks.length, home.events.length, home.events[0].number], [50, 50, 59]);
});

test('a large home is not asked all at once', () => {
  const { message, answer, asked, world } = start();
  for (let number = 0; number < 40; number++) message(`state/d${number}/status`, 'ready', { hub: 'pi' });
  assert.equal(world.sent.length, 8);
  answer(world.sent[0], LAMP, { __stat: '200' });
  assert.equal(world.sent.length, 9);
  assert.equal(asked('d8/describe').length, 1);
});

test('what is no JSON, no topic of ours, or of another home, is left alone', () => {
  const { home, message } = start();
  message('event/lamp', 'pressed');
  message('hub/pi/absence', 'x');
  message('state/lamp', '{}');
  message('other/thing/x', '1');
  home.message({ topic: 'bob/state/lamp/status', payload: encoder.encode('ready'), retain: false, properties: { user: new Map() } });
  assert.deepEqual([home.devices.size, home.events[0].event], [0, 'pressed']);
});

test('without a prefix the level vanishes', () => {
  const { home } = start();
  assert.equal(home.responseFilter('', 'web-1'), 'response/web-1/+');
  home.message({ topic: 'state/lamp/status', payload: encoder.encode('ready'), retain: true, properties: { user: new Map([['hub', 'pi']]) } });
  assert.equal(home.devices.get('lamp').hub, 'pi');
});

test('whoever writes nonsense below the prefix takes nothing from the others', () => {
  const { home, message, answer, asked } = withLamp();
  message('state/odd/status', 'ready', { hub: 'pi' });
  for (const nonsense of ['null', '[1]', '{"properties":7}', '{"properties":{"a":null,"b":{"type":"enum","access":"rw"},"c":{"type":"number","access":"rw","min":"x"}}}', '{']) {
    message('state/odd/status', '');
    message('state/odd/status', 'ready', { hub: 'pi' });
    answer(asked('odd/describe').at(-1), nonsense, { __stat: '200' });
  }
  message('hub/pi/absence', '3');
  message('event/lamp', 'null');
  answer(asked('pi/devices')[0], '{"a":1}', { __stat: '200' });
  home.want('lamp', 'power', 'ON');
  answer(asked('lamp/power')[0], 'ON', { __stat: '200' });
  assert.equal(home.latest('lamp', 'power').state, 'done');
});

test('an empty text is written, and not taken for a read', () => {
  const { home, asked } = withLamp();
  home.want('lamp', 'say', '');
  const [sent] = asked('lamp/say');
  assert.deepEqual([sent.payload, sent.properties.contentType], ['""', 'application/json']);
});

test('a device that could not be described is asked again', () => {
  const { home, message, asked, world } = start();
  message('hub/pi/presence', 'online');
  message('state/lamp/status', 'ready', { hub: 'pi' });
  for (let second = 0; second < 20; second++) {
    world.time += 1_000;
    home.tick();
  }
  assert.equal(asked('lamp/describe').length, 2);
});
