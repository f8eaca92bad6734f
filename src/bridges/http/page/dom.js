/** Elements, and how times and amounts are written. Text only ever becomes text nodes. */

export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === false || value === null) {
      continue;
    }
    if (typeof value === 'function') {
      node.addEventListener(key, value);
    } else {
      node.setAttribute(key, value === true ? '' : String(value));
    }
  }
  node.append(...children.flat(5).filter(child => child !== undefined && child !== null && child !== false));
  return node;
}

const shapes = {
  home: 'M4 11.5 12 5l8 6.5M6.5 10v9h11v-9',
  talk: 'M4.5 6h15v10.5H11L6.5 20v-3.5h-2z',
  peers:
    'M9 11.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6ZM3.5 19c.4-3 2.6-4.5 5.5-4.5s5.1 1.5 5.5 4.5M15.5 5.8a3 3 0 0 1 0 5.4M17 14.8c2 .5 3.2 1.9 3.5 4.2',
  queue: 'M12 4.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM12 8v4.2l2.8 1.8',
  network:
    'M12 13.5v6M8.5 16.5a5 5 0 0 1 0-8M15.5 16.5a5 5 0 0 0 0-8M5.7 19a9 9 0 0 1 0-13M18.3 19a9 9 0 0 0 0-13M12 12.5h.01',
  replicas: 'M7 18.5a4 4 0 0 1-.5-7.95 5.5 5.5 0 0 1 10.7-.6A4.3 4.3 0 0 1 17 18.5z',
  access: 'M8 15.5a3.5 3.5 0 1 1 2.5-6l8.5 0v3h-2.5v2h-3v-2h-2.3A3.5 3.5 0 0 1 8 15.5ZM7.5 12h.01',
  out: 'M10 5H5.5v14H10M14 8.5 18 12l-4 3.5M18 12H9.5',
  copy: 'M9 9h10v10H9zM15 9V5H5v10h4',
  back: 'M14.5 5.5 8 12l6.5 6.5',
  send: 'M4.5 12 19.5 5l-4.5 14-3.5-6z',
  clip: 'M8 12.5 14 6.5a3 3 0 0 1 4.3 4.3l-7.8 7.8a4.7 4.7 0 0 1-6.6-6.6l7-7',
  plus: 'M12 5.5v13M5.5 12h13',
  answer: 'M9.5 6 4.5 11l5 5M4.5 11h9.5a5.5 5.5 0 0 1 5.5 5.5V18',
  close: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
};

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', 'icon');
  path.setAttribute('d', shapes[name]);
  svg.append(path);
  return svg;
}

export function button(label, act, { kind = '', glyph, ...props } = {}) {
  return h(
    'button',
    { type: 'button', class: `button ${kind}`, click: act, ...props },
    glyph && icon(glyph),
    label,
  );
}

/** A button that has to be pressed twice, because what it does cannot be undone. */
export function sureButton(label, sure, act) {
  let armed;
  const node = button(
    label,
    async () => {
      if (armed === undefined) {
        node.textContent = sure;
        node.classList.add('danger');
        armed = setTimeout(disarm, 5000);
        return;
      }
      disarm();
      node.disabled = true;
      await act().finally(() => {
        node.disabled = false;
      });
    },
    { kind: 'small', 'aria-live': 'polite' },
  );
  const disarm = () => {
    clearTimeout(armed);
    armed = undefined;
    node.textContent = label;
    node.classList.remove('danger');
  };
  return node;
}

/** Copies a text; without a secure context the old way, and where that fails too it is selected for the person. */
export function copyButton(text, what) {
  const said = h('span', { class: 'visually-hidden', role: 'status' });
  const node = h(
    'button',
    { type: 'button', class: 'copy', 'aria-label': `Copy ${what}`, title: `Copy ${what}` },
    icon('copy'),
  );
  node.addEventListener('click', async () => {
    const done = await (navigator.clipboard?.writeText(text) ?? Promise.reject()).then(
      () => true,
      () => oldCopy(text),
    );
    said.textContent = done ? `${what} copied` : 'could not be copied: select it by hand';
    node.classList.toggle('copied', done);
    setTimeout(() => {
      node.classList.remove('copied');
      said.textContent = '';
    }, 2000);
  });
  return h('span', { class: 'copying' }, node, said);
}

function oldCopy(text) {
  const field = h('textarea', { class: 'visually-hidden', readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand('copy');
  field.remove();
  return done;
}

/** A hash or address in full, wrapping, with its copy button. */
export function copyable(text, what) {
  return h('span', { class: 'copyable' }, h('code', {}, text), copyButton(text, what));
}

/** A name from outside: its direction must not turn the line around it. */
export function name(text) {
  return h('bdi', {}, text);
}

/** Makes the children of a node again, but only where what they show has changed: nobody is read the same twice. */
export function fill(node, value, make) {
  const print = JSON.stringify(value);
  if (node.print !== print) {
    node.print = print;
    node.replaceChildren(...[make(value)].flat().filter(Boolean));
  }
}

/** Calls `act` soon after it was asked for, however often, and not before the delay has passed again. */
export function pace(delay, act) {
  let timer;
  const soon = () => {
    if (timer === undefined) {
      timer = setTimeout(() => {
        timer = undefined;
        void act();
      }, delay);
    }
  };
  soon.stop = () => {
    clearTimeout(timer);
    timer = null;
  };
  return soon;
}

/**
 * Makes the children of `parent` one for each item, in order. What did not change keeps its element, and so its
 * focus and its open details.
 */
export function keyed(parent, items, keyOf, make) {
  const before = new Map([...parent.children].map(child => [child.dataset.key, child]));
  const focused = document.activeElement;
  const after = items.map(item => {
    const key = String(keyOf(item));
    const print = JSON.stringify(item);
    const old = before.get(key);
    if (old !== undefined && old.print === print) {
      return old;
    }
    const node = make(item);
    node.dataset.key = key;
    node.print = print;
    for (const [index, details] of node.querySelectorAll('details').entries()) {
      details.open = old?.querySelectorAll('details')[index]?.open ?? details.open;
    }
    return node;
  });
  const isSame =
    after.length === parent.children.length && after.every((node, at) => parent.children[at] === node);
  if (!isSame) {
    const held = parent.contains(focused) ? focused.closest('[data-key]')?.dataset.key : undefined;
    parent.replaceChildren(...after);
    if (held !== undefined) {
      const home = after.find(node => node.dataset.key === held);
      (home?.contains(focused) ? focused : home?.querySelector('button, a, input, summary'))?.focus({
        preventScroll: true,
      });
    }
  }
}

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const dayOf = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });

export function ago(at) {
  const seconds = (at - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < 10) {
    return seconds > 0 ? 'in a moment' : 'just now';
  }
  const [unit, length] =
    size < 60
      ? ['second', 1]
      : size < 3600
        ? ['minute', 60]
        : size < 86_400
          ? ['hour', 3600]
          : ['day', 86_400];
  return relative.format(Math.round(seconds / length), unit);
}

/** A time as people say it; it is written again as time goes on. */
export function when(at, form = 'ago') {
  const node = h('time', { datetime: new Date(at).toISOString(), title: full.format(at) });
  if (form === 'ago') {
    node.dataset.at = at;
    node.textContent = ago(at);
  } else {
    node.textContent = clock.format(at);
  }
  return node;
}

export const day = at => dayOf.format(at);

/** Writes every relative time again. */
export function refreshTimes() {
  for (const node of document.querySelectorAll('time[data-at]')) {
    const text = ago(Number(node.dataset.at));
    if (node.textContent !== text) {
      node.textContent = text;
    }
  }
}

export function amount(value, unit) {
  const steps = ['', 'k', 'M', 'G'];
  let step = 0;
  let rest = value;
  for (; rest >= 1000 && step < 3; step++) {
    rest /= 1000;
  }
  return `${rest >= 100 || Number.isInteger(rest) ? Math.round(rest) : rest.toFixed(1)} ${steps[step]}${unit}`;
}

export const count = (many, one, more = `${one}s`) => `${many.toLocaleString()} ${many === 1 ? one : more}`;

/** Nothing to show, and what that means. */
export function empty(title, text) {
  return h('div', { class: 'empty' }, h('p', { class: 'strong' }, title), text && h('p', {}, text));
}

/** Says something that is over soon. */
export function toast(text, tone = 'info') {
  const node = h('p', { class: `toast ${tone}` }, text);
  document.getElementById('toasts').append(node);
  setTimeout(() => node.remove(), 6000);
}

/** Says what went wrong with something a person asked for. */
export const complain = error => toast(error.message, 'bad');
