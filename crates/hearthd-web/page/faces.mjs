// Devices on the page: any device by what it declares, light and thermostat with a face of their own.

import { control, h, inWords, write } from './controls.mjs';
import { isWord, known, quantity, say, time } from './words.mjs';

/** Makes the card of a device; `update()` shows what is known of it now. */
export function card(home, device) {
  const name = h('h3', { id: `d-${device.id}` });
  const note = h('p', { class: 'note status' });
  const problem = h('p', { class: 'note problem' });
  const face = (FACES[device.kind] ?? plain)(home, device);
  const element = h('article', { class: `card ${device.kind in FACES ? device.kind : ''}`, 'aria-labelledby': `d-${device.id}` },
    name, note, problem, ...face.elements);
  const update = () => {
    write(name, device.name ?? device.id);
    write(note, statusOf(home, device));
    const failed = device.problem && home.isOnline ? say('problem', device.problem) : '';
    write(problem, failed);
    element.dataset.usable = isUsable(home, device);
    face.update();
  };
  update();
  return { element, update };
}

const isUsable = (home, device) => home.isOnline && home.isAskable(device);

/** Returns why what is shown may not be so. */
function statusOf(home, device) {
  if (!home.isOnline) return say('unknown-since', time(home.since));
  const away = home.away(device);
  if (!away) return device.properties ? '' : say('connecting');
  if (away === 'hub-away') {
    const { since, isExact } = home.hubs.get(device.hub);
    return `${say('hub-away-short')} ${say('unknown-since', isExact ? time(since) : say('before', time(since)))}`;
  }
  const words = away === 'failed' ? say('failed_device')
    : away === 'unreachable' && device.since ? say('unreachable-since', time(device.since))
      : isWord(away) ? say(away) : away;
  return device.reason ? `${words} ${device.reason}` : words;
}

/** Makes the controls of properties, but for those that a face has shown already. */
function controls(home, device, { shown = [], looks = {} } = {}) {
  const declared = device.properties ?? {};
  // What a face names comes first.
  const names = [...new Set([...Object.keys(looks), ...Object.keys(declared)])].filter((name) => name in declared && !shown.includes(name));
  const made = names.map((name) => [name, control(name, declared[name], {
    want: (payload) => home.want(device.id, name, payload),
    again: (ask) => home.again(ask),
    ...looks[name],
  })]);
  // An alert that says nothing takes no room.
  const isQuiet = (name) => name === 'alert' && ['', 'none', undefined].includes(device.values.get(name));
  return {
    elements: made.map(([, { element }]) => element),
    update: () => made.forEach(([name, { element, update }]) => {
      element.hidden = isQuiet(name);
      update(device.values.get(name), home.latest(device.id, name), home.next(device.id, name), isUsable(home, device), device.times.get(name));
    }),
  };
}

const plain = (home, device) => controls(home, device);

const FACES = {
  light(home, device) {
    const looks = {
      power: { look: 'main' },
      brightness: { title: say('dimmer'), look: 'dimmer' },
      color_temperature: { title: say('warmth'), look: 'warmth' },
    };
    return controls(home, device, { looks });
  },
  thermostat(home, device) {
    const declared = device.properties ?? {};
    const dial = drawDial(declared.target_temperature);
    const heating = h('p', { class: 'heating' });
    const step = declared.target_temperature?.step ?? 0.5;
    const nudge = (change) => () => {
      const wanted = home.next(device.id, 'target_temperature') ?? openWish(home, device) ?? device.values.get('target_temperature');
      if (wanted === undefined) return;
      const { min, max } = declared.target_temperature;
      const value = Math.min(max ?? Infinity, Math.max(min ?? -Infinity, Number(wanted) + change));
      home.want(device.id, 'target_temperature', String(Math.round(value / step) * step));
    };
    const less = h('button', { type: 'button', class: 'nudge', onclick: nudge(-step), 'aria-label': `${say('target')} −${step}` }, '−');
    const more = h('button', { type: 'button', class: 'nudge', onclick: nudge(step), 'aria-label': `${say('target')} +${step}` }, '+');
    const rest = controls(home, device, { shown: ['action', 'current_temperature'], looks: { target_temperature: { title: say('target') }, mode: {}, preset: {} } });
    return {
      elements: [h('div', { class: 'dial' }, less, dial.element, more), heating, ...rest.elements],
      update: () => {
        const action = device.values.get('action');
        dial.update(device.values.get('current_temperature'), device.values.get('target_temperature'), action === 'heating');
        write(heating, action === undefined ? '' : { heating: say('heating'), idle: say('idle'), off: say('is-off') }[action] ?? known(action));
        heating.dataset.action = action ?? '';
        less.disabled = more.disabled = !isUsable(home, device) || !declared.target_temperature;
        rest.update();
      },
    };
  },
};

/** Returns what is being asked for, where it is. */
function openWish(home, device) {
  const ask = home.latest(device.id, 'target_temperature');
  return ask?.state === 'asking' ? ask.payload : undefined;
}

/** Draws an arc from the least to the largest target, with the temperature now and the target on it. */
function drawDial({ min = 5, max = 30, unit = '°C' } = {}) {
  const svg = (tag, attributes, ...children) => {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const share = (value) => Math.min(1, Math.max(0, (Number(value) - min) / (max - min)));
  const arc = 'M 21.7 78.3 A 40 40 0 1 1 78.3 78.3';
  const now = svg('path', { d: arc, class: 'now', pathLength: 100 });
  const knob = svg('circle', { r: 5, class: 'target' });
  const current = svg('text', { x: 50, y: 53, class: 'current' });
  const wanted = svg('text', { x: 50, y: 68, class: 'wanted' });
  // The words beside it say the same, for those who do not see it.
  const element = svg('svg', { viewBox: '0 0 100 88', role: 'img' }, svg('path', { d: arc, class: 'track' }), now, knob, current, wanted);
  const update = (temperature, target, isHeating) => {
    const position = share(temperature ?? min);
    now.setAttribute('stroke-dasharray', `${position * 100} 100`);
    element.setAttribute('class', isHeating ? 'is-heating' : '');
    const angle = (225 - 270 * share(target ?? min)) * Math.PI / 180;
    knob.setAttribute('cx', 50 + 40 * Math.cos(angle));
    knob.setAttribute('cy', 50 - 40 * Math.sin(angle));
    knob.setAttribute('visibility', target === undefined ? 'hidden' : 'visible');
    const words = (value) => value === undefined ? '–' : quantity(value, { unit, step: '0.1' });
    write(current, words(temperature));
    write(wanted, `→ ${words(target)}`);
    element.setAttribute('aria-label', `${say('current')} ${words(temperature)}, ${say('target')} ${words(target)}`);
  };
  return { element, update };
}

/** Returns a finished request in words, for the history and the screen reader. */
export function asked(home, ask) {
  const device = home.devices.get(ask.device);
  const declaration = device?.properties?.[ask.property];
  const title = known(declaration?.title ?? ask.property);
  return `${device?.name ?? ask.device}, ${say('wanted', title, inWords(declaration, ask.payload))}`;
}
