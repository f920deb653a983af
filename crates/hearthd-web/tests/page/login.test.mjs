// The login in the fragment of the page's address.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { loginOf } from '../../page/login.mjs';

test('a fragment brings account and password as they are', () => {
  assert.deepEqual(loginOf('#u=phone-anna&p=abc234'), { username: 'phone-anna', password: 'abc234' });
  const encoded = '#u=%C3%A4nna&p=a%26b%3Dc%23d%25e%20f%2Bg';
  assert.deepEqual(loginOf(encoded), { username: 'änna', password: 'a&b=c#d%e f+g' });
});

test('a fragment without both is none of a login', () => {
  for (const fragment of ['', '#', '#u=anna', '#p=secret', '#u=&p=x', '#history']) assert.equal(loginOf(fragment), null, fragment);
});
