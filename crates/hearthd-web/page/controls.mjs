// One control for each property, by its declared type. What comes from the wire becomes text, never HTML.

import { known, quantity, say, time, why } from './words.mjs';

let lastId = 0;

/** Makes an element: `h('p', { class: 'note' }, 'text', child)`. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Writes a text where it has changed, so that a screen reader does not read it again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Returns a value in words, as a declaration has it. */
export function inWords(declaration, value) {
  if (value === undefined) return say('no-value');
  if (declaration?.type === 'integer' || declaration?.type === 'number') return quantity(value, declaration);
  return declaration?.type === 'switch' || declaration?.type === 'enum' ? known(value) : value;
}

/**
 * Makes the control of a property. `want(payload)` and `again(ask)` are what it asks for. Returns its element, and
 * `update(value, ask, next, isUsable)`, which shows what is confirmed, and what became of the last request; `at` is when an
 * event happened.
 */
export function control(name, declaration, { want, again, title = known(declaration.title ?? name), look = '' }) {
  const id = `c${++lastId}`;
  const input = INPUTS[kindOf(name, declaration)](id, declaration, want, title);
  const note = h('p', { class: 'note', id: `${id}-note` });
  const button = h('button', { type: 'button', class: 'again', hidden: true }, say('again'));
  let last;
  button.addEventListener('click', () => last && again(last));
  const label = input.labelled ? h('label', { for: id, class: 'title' }, title) : h('span', { class: 'title' }, title);
  const element = h('div', { class: `control ${input.look ?? ''} ${look}` }, label, ...input.elements, h('div', { class: 'outcome' }, note, button));
  const update = (value, ask, next, isUsable, at) => {
    last = ask;
    const state = ask && ask.state !== 'done' ? ask.state : 'confirmed';
    element.dataset.state = isUsable || state === 'asking' ? state : 'unknown';
    element.setAttribute('aria-busy', state === 'asking');
    input.update(value, isUsable, at);
    const wanted = ask && inWords(declaration, ask.payload);
    const words = {
      asking: () => say('asking', wanted) + (next === undefined ? '' : `, ${say('next', inWords(declaration, next))}`),
      failed: () => say('failed', why(ask)),
      unknown: () => say('unknown', why(ask)),
      confirmed: () => '',
    };
    write(note, words[state]());
    button.hidden = !['failed', 'unknown'].includes(state) || !isUsable;
  };
  return { element, update };
}

/** Returns which input a property gets. */
export function kindOf(name, { type, access, values, min, max, step }) {
  if (type === 'event') return 'happened';
  if (access === 'r') return type === 'json' ? 'json' : 'value';
  if (access === 'w') {
    if (type === 'enum') return 'buttons';
    if (type === 'switch') return 'buttons';
  }
  switch (type) {
    case 'switch': return 'switch';
    case 'enum': return values.length <= 4 ? 'choices' : 'select';
    case 'integer': case 'number': {
      const steps = (max - min) / (step ?? (type === 'integer' ? 1 : (max - min) / 100));
      return access === 'rw' && steps <= 10_000 ? 'slider' : 'number';
    }
    case 'text': return /(^|_)colou?r$/.test(name) ? 'colour' : 'text';
    default: return 'text';
  }
}

/** So long after the last key a slider is sent, in milliseconds. */
const PAUSE = 400;

const stepOf = ({ type, step }) => step ?? (type === 'integer' ? 1 : 'any');

const INPUTS = {
  value(id, declaration) {
    const output = h('span', { class: 'value', id });
    return { elements: [output], update: (value) => write(output, inWords(declaration, value)) };
  },
  happened(id) {
    const output = h('span', { class: 'value', id });
    const update = (value, isUsable, at) => write(output, value === undefined ? say('never-happened') : `${known(value)}, ${time(at)}`);
    return { elements: [output], update };
  },
  json(id) {
    const output = h('pre', { class: 'json', id, tabindex: 0 });
    return { look: 'wide', elements: [output], update: (value) => write(output, value ?? say('no-value')) };
  },
  switch(id, declaration, want) {
    const words = h('span', {});
    const button = h('button', { type: 'button', id, role: 'switch', class: 'switch', onclick: () => {
      want(button.getAttribute('aria-checked') === 'true' ? 'OFF' : 'ON');
    } }, h('span', { class: 'knob', 'aria-hidden': 'true' }), words);
    const update = (value, isUsable) => {
      button.setAttribute('aria-checked', value === 'ON');
      button.disabled = !isUsable;
      write(words, value === undefined ? say('no-value') : say(value === 'ON' ? 'on' : 'off'));
    };
    return { labelled: true, elements: [button], update };
  },
  slider(id, declaration, want) {
    const { min, max } = declaration;
    const output = h('output', { for: id, class: 'value' });
    let confirmed, isHeld = false, isKeyed = false, timer = 0;
    const show = () => {
      isHeld = false;
      input.value = confirmed ?? min;
      write(output, inWords(declaration, confirmed));
      input.setAttribute('aria-valuetext', output.textContent);
    };
    const input = h('input', { type: 'range', id, min, max, step: stepOf(declaration), 'aria-describedby': `${id}-note`,
      oninput: () => { isHeld = true; write(output, inWords(declaration, input.value)); },
      onkeydown: () => { isKeyed = true; },
      onpointerdown: () => { isKeyed = false; },
      // Keys come in a row, and make one request.
      onchange: () => { clearTimeout(timer); timer = setTimeout(send, isKeyed ? PAUSE : 0); },
      onblur: () => { if (isHeld) send(); } });
    // Sent once it is let go; what is shown goes back to what is confirmed until the answer is here.
    const send = () => {
      clearTimeout(timer);
      const { value } = input;
      show();
      if (value !== confirmed) want(value);
    };
    const update = (value, isUsable) => {
      confirmed = value;
      input.disabled = !isUsable;
      if (!isHeld) show();
    };
    return { labelled: true, look: 'wide', elements: [output, input], update };
  },
  number(id, declaration, want) {
    const { min, max, unit } = declaration;
    return field(id, { type: 'number', min, max, step: stepOf(declaration), inputmode: 'decimal' }, want, declaration, unit);
  },
  text(id, declaration, want) {
    return field(id, { type: 'text', autocomplete: 'off' }, want, declaration);
  },
  colour(id, declaration, want) {
    let confirmed;
    const output = h('span', { class: 'value' });
    const input = h('input', { type: 'color', id, onchange: () => { const { value } = input; show(); want(value); } });
    const show = () => {
      if (/^#[0-9a-f]{6}$/i.test(confirmed ?? '')) input.value = confirmed.toLowerCase();
      write(output, inWords(declaration, confirmed));
    };
    const update = (value, isUsable) => { confirmed = value; input.disabled = !isUsable; show(); };
    return { labelled: true, elements: [output, input], update };
  },
  select(id, declaration, want) {
    const options = declaration.values.map((value) => h('option', { value }, known(value)));
    let confirmed;
    const show = () => { input.value = confirmed ?? ''; };
    const input = h('select', { id, 'aria-describedby': `${id}-note`, onchange: () => {
      const { value } = input;
      show();
      if (value !== confirmed) want(value);
    } }, ...options);
    const update = (value, isUsable) => { confirmed = value; input.disabled = !isUsable; show(); };
    return { labelled: true, elements: [input], update };
  },
  choices(id, declaration, want, title) {
    const buttons = declaration.values.map((value) => h('button', { type: 'button', class: 'choice', onclick: () => want(value) }, known(value)));
    const update = (value, isUsable) => buttons.forEach((button, index) => {
      button.setAttribute('aria-pressed', declaration.values[index] === value);
      button.disabled = !isUsable;
    });
    return { look: 'wide', elements: [h('div', { class: 'choices', role: 'group', 'aria-label': title }, ...buttons)], update };
  },
  // What can be told and has no state.
  buttons(id, { type, values }, want, title) {
    const all = type === 'enum' ? values : ['ON', 'OFF'];
    const only = all.length === 1;
    const buttons = all.map((value) => h('button', { type: 'button', class: 'choice', onclick: () => want(value),
      'aria-label': only ? title : `${title}: ${known(value)}` }, only ? say('press') : known(value)));
    const update = (_, isUsable) => buttons.forEach((button) => { button.disabled = !isUsable; });
    return { look: 'wide', elements: [h('div', { class: 'choices' }, ...buttons)], update };
  },
};

function field(id, attributes, want, declaration, unit) {
  let confirmed;
  const output = h('span', { class: 'value' });
  const input = h('input', { id, 'aria-describedby': `${id}-note`, ...attributes });
  const send = h('button', { type: 'submit' }, say('send'));
  const form = h('form', { class: 'field', onsubmit: (event) => {
    event.preventDefault();
    if (input.value === '' && declaration.type !== 'text') return;
    want(input.value);
    input.value = '';
  } }, input, unit && h('span', {}, unit), send);
  const update = (value, isUsable) => {
    confirmed = value;
    if (declaration.access !== 'w') write(output, inWords(declaration, confirmed));
    input.disabled = send.disabled = !isUsable;
  };
  return { labelled: true, look: 'wide', elements: [output, form], update };
}
