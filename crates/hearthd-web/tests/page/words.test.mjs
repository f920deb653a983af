import assert from 'node:assert/strict';
import { test } from 'node:test';

import { kindOf } from '../../page/controls.mjs';
import { absenceWords } from '../../page/view.mjs';
import { languages, quantity, say, setLanguage, why } from '../../page/words.mjs';

test('each language has the same words with the same gaps', () => {
  const gaps = (words) => Object.entries(words).map(([key, text]) => `${key} ${(text.match(/\{\d\}/g) ?? []).sort()}`).sort();
  assert.deepEqual(gaps(languages.de), gaps(languages.en));
});

test('numbers are written as the reader writes them', () => {
  setLanguage('de');
  assert.equal(quantity('21.50', { unit: '°C', step: 0.5 }), '21,5\u00a0°C');
  setLanguage('en');
  assert.equal(quantity('21.4567', { step: '0.1' }), '21.5');
  assert.deepEqual(['0.0421', '7.256', '21.4567', '17', '12.25'].map((it) => quantity(it)), ['0.042', '7.26', '21.5', '17', '12.3']);
  assert.equal(quantity('', { unit: 'W' }), '');
  assert.equal(quantity('<b>', {}), '<b>');
});

test('why something failed is told in words, and by what it was said', () => {
  setLanguage('en');
  assert.equal(why({ status: 503, message: 'unreachable since 13:05' }), 'not available: unreachable since 13:05 (503)');
  assert.equal(why({ status: 0x87, message: 'not-permitted' }), 'this account may not do that (0x87)');
  assert.equal(why({ status: 0, message: 'no-answer' }), say('no-answer'));
});

test('outcomes of wills are told in words', () => {
  setLanguage('en');
  const consumed = { outcome: 'consumed', acknowledgements: [{ responder: 'guardian', payload: 'boiler off' }] };
  assert.equal(absenceWords(consumed), 'Its will was published, and taken up by guardian (boiler off).');
  assert.equal(absenceWords({ outcome: 'unknown' }), say('outcome-unknown'));
  assert.equal(absenceWords({ outcome: 'not-published', clean: true }), say('in-order'));
});

test('every declared type has a control', () => {
  const cases = [
    ['switch', 'rw', {}, 'switch'], ['switch', 'r', {}, 'value'], ['switch', 'w', {}, 'buttons'],
    ['integer', 'rw', { min: 0, max: 100 }, 'slider'], ['integer', 'rw', {}, 'number'], ['integer', 'rw', { min: 0 }, 'number'],
    ['integer', 'rw', { min: 0, max: 1_000_000 }, 'number'], ['number', 'rw', { min: 5, max: 30, step: 0.5 }, 'slider'],
    ['number', 'w', { min: 5, max: 30 }, 'number'], ['number', 'r', { min: 5, max: 30 }, 'value'],
    ['enum', 'rw', { values: ['a', 'b'] }, 'choices'], ['enum', 'rw', { values: [...'abcdef'] }, 'select'], ['enum', 'w', { values: ['go'] }, 'buttons'],
    ['text', 'rw', {}, 'text'], ['text', 'r', {}, 'value'], ['json', 'r', {}, 'json'], ['json', 'rw', {}, 'text'],
  ];
  for (const [type, access, more, kind] of cases) assert.equal(kindOf('x', { type, access, ...more }), kind, `${type} ${access}`);
  assert.equal(kindOf('strip_color', { type: 'text', access: 'rw' }), 'colour');
});
