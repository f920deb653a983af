// Puts the page together: login, connection, home, view.

import { Connection } from './connection.mjs';
import { h, write } from './controls.mjs';
import { asked } from './faces.mjs';
import { Home } from './home.mjs';
import { loginOf } from './login.mjs';
import { Topics } from './topics.mjs';
import { outcome, View } from './view.mjs';
import { say, setLanguage } from './words.mjs';

const $ = (id) => document.getElementById(id);

// What is kept where: in `session` what a reload needs, in `kept` only what the user asks for.
const session = store('sessionStorage'), kept = store('localStorage');

function store(name) {
  const open = (work) => {
    // A browser may forbid it; then nothing is kept.
    try { return work(window[name]); } catch { return null; }
  };
  return {
    get: (key) => open((storage) => JSON.parse(storage.getItem(key))),
    set: (key, value) => open((storage) => (value === null ? storage.removeItem(key) : storage.setItem(key, JSON.stringify(value)))),
  };
}

const version = document.querySelector('meta[name=version]')?.content ?? '';
const random = (length) => crypto.getRandomValues(new Uint8Array(length));
const newClientId = () => `web-${[...random(8)].map((byte) => 'abcdefghijklmnopqrstuvwxyz234567'[byte & 31]).join('')}`;

let connection = null, view = null, account = '', clientId, dueUpdate = 0, newer = null;

const home = new Home({
  topics: new Topics(JSON.parse(document.querySelector('meta[name=topics]')?.content ?? '{}')),
  now: () => Date.now(),
  random,
  publish: (...message) => connection?.publish(...message) ?? false,
  changed: () => { dueUpdate ||= requestAnimationFrame(update); },
  told: (ask) => { write($('said'), `${asked(home, ask)}: ${outcome(ask)}`); },
});

function update() {
  dueUpdate = 0;
  session.set('home', home.saved());
  view?.update();
  reloadIfNewer();
}

function useClientId(id) {
  clientId = id;
  session.set('client', id);
}

function showWho() {
  write($('who'), home.isOnline ? say('connected', account || say('anonymous')) : say('connecting'));
}

function logIn(login) {
  connection?.end();
  account = login.username;
  home.clear();
  home.restore(session.get('home') ?? {});
  $('login').hidden = true;
  $('home').hidden = $('bar').hidden = false;
  view = new View(home, $('home'));
  showWho();
  connection = new Connection({
    responseFilter: (prefix, id) => home.responseFilter(prefix, id),
    filters: (prefix) => home.filters(prefix),
    message: (packet) => home.message(packet),
    published: (key, code, reason) => home.published(key, code, reason),
    online: () => {
      home.online();
      showWho();
      lookForNewer();
    },
    offline: (reason, code) => {
      // Another tab, made of this one, has the same client ID: this one takes another.
      if (code === 0x8e) useClientId(newClientId());
      home.offline();
      showWho();
      $('who').title = reason;
    },
    // Who logs in with a code pairs this phone: it keeps what it gets.
    handed: (password) => kept.set('login', { ...login, password }),
    refused: (code, reason) => {
      kept.set('login', null);
      const words = { 0x86: 'bad-login', 0x8c: 'bad-login', 0x87: 'may-not' }[code];
      askForLogin(say('refused', [words && say(words), reason].filter(Boolean).join(': ') || `0x${code.toString(16)}`));
    },
  }, {
    open: () => new WebSocket(`${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/mqtt`, 'mqtt'),
    login,
    clientId: () => clientId,
  });
  view.update();
}

function askForLogin(words = '') {
  connection?.end();
  connection = view = null;
  home.clear();
  session.set('home', null);
  $('home').replaceChildren();
  $('home').hidden = $('bar').hidden = true;
  $('login').hidden = false;
  write($('refused'), words);
  $('username').focus();
}

/** Keeps a login that the address brings, and wipes it from the address. */
function paired() {
  const login = loginOf(location.hash);
  if (!login) return null;
  history.replaceState(null, '', location.pathname);
  kept.set('login', login);
  // What another account has asked for is not repeated in the name of this one.
  session.set('home', null);
  return login;
}

/** A page that stays open for months learns of a newer version after each new connection: its program was restarted. */
async function lookForNewer() {
  try {
    const { headers } = await fetch('/app.mjs', { method: 'HEAD', cache: 'no-store' });
    const now = headers.get('etag');
    // Once for each version: a cache on the way may still have the old one.
    newer = now && !now.includes(version) && session.get('newer') !== now ? now : null;
    reloadIfNewer();
  } catch { /* The connection is gone again: the next one looks. */ }
}

/** Loads the newer version once nothing is under way. A login that is not kept would be lost: such a page stays as it is. */
function reloadIfNewer() {
  if (!newer || !kept.get('login') || home.asks.some((ask) => ask.state === 'asking')) return;
  session.set('newer', newer);
  newer = null;
  location.reload();
}

function translate() {
  const language = setLanguage(kept.get('language') ?? navigator.language.slice(0, 2));
  document.documentElement.lang = language;
  document.title = say('title');
  for (const element of document.querySelectorAll('[data-say]')) write(element, say(element.dataset.say));
}

translate();
$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  const login = { username: $('username').value, password: $('password').value };
  kept.set('login', $('keep').checked ? login : null);
  $('password').value = '';
  logIn(login);
});
$('logout').addEventListener('click', () => {
  kept.set('login', null);
  askForLogin();
});
$('language').addEventListener('click', () => {
  kept.set('language', document.documentElement.lang === 'de' ? 'en' : 'de');
  translate();
  if (connection) {
    view = new View(home, $('home'));
    showWho();
    view.update();
  }
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) connection?.wake(); });
window.addEventListener('online', () => connection?.wake());
window.addEventListener('hashchange', () => {
  const login = paired();
  if (login) logIn(login);
});
setInterval(() => home.tick(), 500);

useClientId(session.get('client') ?? newClientId());
const login = paired() ?? kept.get('login');
if (login) logIn(login); else askForLogin();
