// The topics of the home: templates with placeholders, which `[topics]` of hearth-web.toml may change.

const DEFAULTS = {
  request: '{prefix}/cmnd/{device}/{property}', state: '{prefix}/state/{device}/{property}', event: '{prefix}/event/{device}',
  response: '{prefix}/response/{client_id}/{purpose}', presence: '{prefix}/hub/{client_id}/presence', absence: '{prefix}/hub/{client_id}/absence',
};

/** What the page reads. */
const READ = ['state', 'event', 'response', 'presence', 'absence'];

export class Topics {
  #templates;

  /** `changed` has the templates that differ from the hub's defaults. */
  constructor(changed = {}) { this.#templates = { ...DEFAULTS, ...changed }; }

  /** Returns a topic name; a placeholder without a value is `+`, which makes it a filter. */
  name(kind, prefix, values = {}) {
    return this.#levels(kind, prefix).map((level) => (placeholder(level) ? values[placeholder(level)] ?? '+' : level)).join('/');
  }

  /** Returns which topic a name is, with the values of its placeholders; none where it is another's. */
  parse(prefix, name) {
    const levels = name.split('/');
    for (const kind of READ) {
      const template = this.#levels(kind, prefix);
      const fits = (level, index) => (placeholder(level) ? levels[index] : level === levels[index]);
      if (template.length !== levels.length || !template.every(fits)) continue;
      const values = template.map((level, index) => [placeholder(level), levels[index]]).filter(([key]) => key);
      return { kind, ...Object.fromEntries(values) };
    }
    return null;
  }

  /** The level of the prefix is left out where there is none. */
  #levels(kind, prefix) { return this.#templates[kind].replace(/^\{prefix\}\/?/, prefix ? `${prefix}/` : '').split('/'); }
}

const placeholder = (level) => /^\{(\w+)\}$/.exec(level)?.[1];
