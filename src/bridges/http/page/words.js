import { h, name, when } from './dom.js';

/** The words for states and addresses, the same everywhere. */

/** tone: which colour; text: the word; means: what it says for sure. */
const states = {
  queued: { tone: 'wait', text: 'Queued', means: 'It waits here, safe on disk.' },
  sending: { tone: 'wait', text: 'Sending', means: 'An attempt is under way.' },
  sent: {
    tone: 'info',
    text: 'Sent',
    means: 'It has left, or the far side took it for later. Nobody has confirmed that it arrived.',
  },
  delivered: { tone: 'ok', text: 'Delivered', means: 'The far side has confirmed it.' },
  read: { tone: 'ok', text: 'Read', means: 'A read receipt came.' },
  failed: { tone: 'bad', text: 'Failed', means: 'It will not be tried again.' },
  expired: { tone: 'bad', text: 'Expired', means: 'Its time ran out before it could be delivered.' },
  cancelled: { tone: 'idle', text: 'Cancelled', means: 'It was called back.' },
  ambiguous: {
    tone: 'bad',
    text: 'Uncertain',
    means:
      'It may or may not have arrived: the hub stopped in the middle of an attempt that cannot be repeated safely.',
  },
  up: { tone: 'ok', text: 'Up' },
  starting: { tone: 'wait', text: 'Starting' },
  waiting: { tone: 'bad', text: 'Down', means: 'It is tried again by itself.' },
  stopped: { tone: 'idle', text: 'Stopped' },
  online: { tone: 'ok', text: 'Online' },
  suspect: { tone: 'wait', text: 'Not sure', means: 'The last answers were late or missing.' },
  offline: {
    tone: 'bad',
    text: 'Offline',
    means: 'The cloud cannot be reached: what is kept is served, labelled as stale.',
  },
  forced: { tone: 'idle', text: 'Offline by hand' },
  inflight: { tone: 'wait', text: 'Sending' },
  conflict: { tone: 'bad', text: 'Conflict' },
  rejected: { tone: 'bad', text: 'Refused' },
  blocked: { tone: 'wait', text: 'Blocked' },
  'needs-auth': { tone: 'wait', text: 'Needs a log-in' },
  done: { tone: 'ok', text: 'Done' },
  used: { tone: 'ok', text: 'In use' },
  deaf: { tone: 'wait', text: 'Not heard', means: 'What is said to everybody on it does not come back.' },
  unused: { tone: 'idle', text: 'Not used' },
  discarded: { tone: 'idle', text: 'Discarded' },
};

export const wordOf = state => states[state] ?? { tone: 'idle', text: state };

export function pill(state) {
  const { tone, text, means } = wordOf(state);
  return h('span', { class: `pill ${tone}`, title: means }, text);
}

/** State, reason and next attempt of a delivery, as a line. */
export function deliveryLine({ state, reason, nextAt, bridge }) {
  const waits = state === 'queued' || state === 'sending';
  const why = reason ?? (state === 'queued' && bridge === 'app' ? 'until the app reads it' : undefined);
  const next = waits && nextAt !== undefined && ['next attempt ', when(nextAt)];
  const words = [why, why && next && ', ', next];
  return h('span', { class: 'line' }, pill(state), (why || next) && h('span', { class: 'why' }, words));
}

/** Names by address: heard on the mesh, given by residents, told by lists. */
const names = new Map();

export function learn(address, text) {
  if (text) {
    names.set(address, text);
  }
}

export const schemeOf = address => address.slice(0, address.indexOf(':'));
export const restOf = address => address.slice(address.indexOf(':') + 1);

/** Whom an address stands for, as short as it is still clear. */
export function nameOf(address) {
  const rest = restOf(address);
  const known = names.get(address);
  if (known) {
    return known;
  }
  switch (schemeOf(address)) {
    case 'lxmf':
      return `${rest.slice(0, 8)}…${rest.slice(-4)}`;
    case 'room':
      return rest === 'hub' ? 'Everything for the hub' : rest === 'sensors' ? 'Sensor readings' : rest;
    default:
      return rest;
  }
}

const kinds = { lxmf: 'mesh', room: 'room', app: 'app', mqtt: 'MQTT', matrix: 'Matrix', kmesh: 'mesh' };
export const kindOf = address => kinds[schemeOf(address)] ?? schemeOf(address);

/** A round mark that is the same for the same address. */
export function mark(address) {
  const letters = [
    ...nameOf(address)
      .replace(/[^\p{L}\p{N}]+/gu, ' ')
      .trim(),
  ];
  const node = h(
    'span',
    { class: `mark ${schemeOf(address)}`, 'aria-hidden': 'true' },
    (letters[0] ?? '?').toUpperCase(),
  );
  let hue = 0;
  for (const letter of address) {
    hue = (hue * 31 + letter.codePointAt(0)) % 360;
  }
  node.style.setProperty('--hue', hue);
  return node;
}

export const who = address => h('span', { title: address }, name(nameOf(address)));

/** Whose conversation a message belongs to: the room, else its far side, among apps the other one. */
export function otherEnd(me, from, to) {
  const isApp = address => schemeOf(address) === 'app';
  if (schemeOf(to) === 'room') {
    return to === 'room:hub' && !isApp(from) ? from : to;
  }
  return isApp(from) && from !== to && to !== me ? to : from;
}
