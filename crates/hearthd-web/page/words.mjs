// What the page says, in German and English. What devices say of themselves is shown as they say it, but for the words of the
// plugins that come with the hub.

const WORDS = {
  en: {
    title: 'Home', account: 'Account', password: 'Password', login: 'Log in', logout: 'Log out',
    keep: 'Stay logged in on this device', connecting: 'Connecting…', connected: 'Connected as {0}', anonymous: 'a guest without account',
    lost: 'No connection since {0}', trying: 'It tries again by itself. What is shown is of then.',
    'hub-away': 'The hub {0} is away since {1}', before: 'before {0}', 'hub-away-short': 'The hub is away.',
    'no-hub': 'No hub is here yet.', 'no-devices': 'No devices are here yet.', 'other-room': 'Other', events: 'Events', requests: 'Requests',
    absences: 'When the hub was away', none: 'none yet', history: 'History', language: 'Deutsch',
    on: 'On', off: 'Off', asking: 'asking for {0} …', next: 'then {0}', failed: 'Failed: {0}', unknown: 'Unknown: {0}', again: 'Again',
    done: 'done', 'done-but': 'done, and set otherwise since', 'under-way': 'under way', send: 'Send', press: 'Press', 'unknown-since': 'Unknown since {0}',
    'no-value': 'not known', 'no-answer': 'no answer came in time; it may have been done', offline: 'there is no connection',
    nobody: 'nobody serves this device now', 'not-permitted': 'this account may not do that', 'never-happened': 'not yet',
    dimmer: 'Brightness', warmth: 'Warmth', target: 'Target', current: 'Now', heating: 'Heating now',
    idle: 'Not heating', 'is-off': 'Heating off', wanted: '{0}: {1}', problem: 'Last command failed: {0}', 'event-failed': '{0} = {1} failed: {2}',
    refused: 'The broker refuses the login: {0}', 'bad-login': 'account or password are wrong', 'may-not': 'the account may not',
    s400: 'it could not be read', s404: 'there is no such property', s408: 'the device did not answer in time', s409: 'not done',
    s415: 'wrong kind of content', s422: 'the device cannot do that', s429: 'too much at once', s500: 'the device failed', s503: 'not available',
    stalled: 'The device does not answer.', restarting: 'The device starts anew.', failed_device: 'The device has failed.',
    quarantined: 'The device is left alone: it crashed too often.', unreachable: 'The device cannot be reached.',
    'unreachable-since': 'Unreachable since {0}; the last known is shown.',
    'not-published': 'It was back before its will was published.', consumed: 'Its will was published, and taken up by {0}.',
    unconsumed: 'Its will was published, and nobody took it up.', 'outcome-unknown': 'Nobody can tell what became of its will.',
    'in-order': 'It ended in order.',
  },
  de: {
    title: 'Zuhause', account: 'Konto', password: 'Passwort', login: 'Anmelden', logout: 'Abmelden',
    keep: 'Auf diesem Gerät angemeldet bleiben', connecting: 'Verbindet…', connected: 'Angemeldet als {0}', anonymous: 'Gast ohne Konto',
    lost: 'Keine Verbindung seit {0}', trying: 'Es wird von selbst weiter versucht. Was zu sehen ist, ist von damals.',
    'hub-away': 'Die Zentrale {0} ist fort seit {1}', before: 'vor {0}', 'hub-away-short': 'Die Zentrale ist fort.',
    'no-hub': 'Noch ist keine Zentrale da.', 'no-devices': 'Noch sind keine Geräte da.', 'other-room': 'Sonstige', events: 'Ereignisse', requests: 'Aufträge',
    absences: 'Als die Zentrale fort war', none: 'noch keine', history: 'Verlauf', language: 'English',
    on: 'An', off: 'Aus', asking: 'verlangt {0} …', next: 'dann {0}', failed: 'Fehlgeschlagen: {0}', unknown: 'Ungewiss: {0}', again: 'Noch einmal',
    done: 'erledigt', 'done-but': 'erledigt, seither anders gestellt', 'under-way': 'ist unterwegs', send: 'Senden', press: 'Drücken', 'unknown-since': 'Ungewiss seit {0}',
    'no-value': 'nicht bekannt', 'no-answer': 'keine Antwort kam rechtzeitig; vielleicht wurde es getan', offline: 'es besteht keine Verbindung',
    nobody: 'niemand bedient dieses Gerät zurzeit', 'not-permitted': 'dieses Konto darf das nicht', 'never-happened': 'noch nicht',
    dimmer: 'Helligkeit', warmth: 'Lichtfarbe', target: 'Soll', current: 'Jetzt', heating: 'Heizt gerade',
    idle: 'Heizt nicht', 'is-off': 'Heizung aus', wanted: '{0}: {1}', problem: 'Letzter Befehl fehlgeschlagen: {0}', 'event-failed': '{0} = {1} fehlgeschlagen: {2}',
    refused: 'Der Broker weist die Anmeldung ab: {0}', 'bad-login': 'Konto oder Passwort stimmen nicht', 'may-not': 'das Konto darf nicht',
    s400: 'es war nicht lesbar', s404: 'diese Eigenschaft gibt es nicht', s408: 'das Gerät antwortete nicht rechtzeitig', s409: 'nicht getan',
    s415: 'falsche Art von Inhalt', s422: 'das kann das Gerät nicht', s429: 'zu viel auf einmal', s500: 'das Gerät versagte', s503: 'nicht verfügbar',
    stalled: 'Das Gerät antwortet nicht.', restarting: 'Das Gerät startet neu.', failed_device: 'Das Gerät ist ausgefallen.',
    quarantined: 'Das Gerät wird in Ruhe gelassen: es stürzte zu oft ab.', unreachable: 'Das Gerät ist nicht erreichbar.',
    'unreachable-since': 'Nicht erreichbar seit {0}; zu sehen ist, was zuletzt bekannt war.',
    'not-published': 'Sie war zurück, ehe ihr Wille veröffentlicht wurde.', consumed: 'Ihr Wille wurde veröffentlicht, und {0} nahm sich seiner an.',
    unconsumed: 'Ihr Wille wurde veröffentlicht, und niemand nahm sich seiner an.', 'outcome-unknown': 'Niemand weiß, was aus ihrem Willen wurde.',
    'in-order': 'Sie endete ordentlich.',
  },
};

// Titles and values of the plugins that come with the hub.
const KNOWN = {
  Power: 'Licht', Brightness: 'Helligkeit', 'Color temperature': 'Lichtfarbe', Transition: 'Übergang', Alert: 'Warnung',
  'Target temperature': 'Soll', Temperature: 'Temperatur', Mode: 'Betrieb', Preset: 'Vorgabe', Action: 'Tätigkeit', Window: 'Fenster',
  off: 'aus', heat: 'heizen', auto: 'automatisch', none: 'keine', comfort: 'Komfort', eco: 'sparsam', away: 'abwesend', boost: 'kräftig',
  idle: 'ruht', heating: 'heizt', open: 'offen', closed: 'zu', ON: 'An', OFF: 'Aus',
};
const KNOWN_EN = { ON: 'On', OFF: 'Off' };

let language = 'en';

export function setLanguage(wanted) {
  language = wanted in WORDS ? wanted : 'en';
  return language;
}

/** Returns the words for a key, with `{0}` and so on replaced. */
export function say(key, ...values) {
  const words = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return words.replace(/\{(\d)\}/g, (_, index) => values[index]);
}

export const isWord = (key) => key in WORDS.en;

/** Returns a title or a value of a device in the reader's language. */
export const known = (text) => (language === 'de' ? KNOWN : KNOWN_EN)[text] ?? text;

/** Returns a number as the reader writes it, with its unit. */
export function quantity(value, { unit, step } = {}) {
  const number = Number(value);
  if (value === '' || Number.isNaN(number)) return value;
  // Without a step, about three digits count: 0.042 is not nought, and 21.4567 is not more exact than 21.5.
  const size = Math.abs(number), usual = Number.isInteger(number) ? 0 : size < 1 ? 3 : size < 10 ? 2 : 1;
  const digits = step ? Math.min(3, Math.max((String(step).split('.')[1] ?? '').length, Math.min(usual, 1))) : usual;
  const written = number.toLocaleString(language, { minimumFractionDigits: 0, maximumFractionDigits: digits });
  return unit ? `${written}\u00a0${unit}` : written;
}

export function time(at) {
  const date = new Date(at);
  const isToday = new Date().toDateString() === date.toDateString();
  const day = isToday ? {} : { day: 'numeric', month: 'numeric' };
  return date.toLocaleString(language, { ...day, hour: '2-digit', minute: '2-digit', ...(isToday && { second: '2-digit' }) });
}

/** Returns why a request has failed: what is known of its status, and what the hub says. */
export function why({ status, message }) {
  const words = isWord(`s${status}`) ? say(`s${status}`) : '';
  const said = isWord(message) ? say(message) : message;
  return [words, said].filter(Boolean).join(': ') + (status ? ` (${status >= 0x100 ? status : `0x${status.toString(16)}`})` : '');
}

/** For the tests: each language has the same words. */
export const languages = WORDS;
