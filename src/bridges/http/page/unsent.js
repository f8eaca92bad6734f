import { call } from './api.js';

/**
 * What was written here and is not on the hub's disk yet. It outlives a reload, and is sent under the same key until
 * the hub has answered: the hub takes it once, however often it is sent.
 */

const place = 'kos-unsent/';
/** ms until it is tried again where nobody answered. */
const pause = 5000;

/** Each under a place of its own: several tabs write there. */
const entries = Object.keys(localStorage)
  .filter(key => key.startsWith(place))
  .flatMap(key => {
    try {
      return [JSON.parse(localStorage.getItem(key))];
    } catch {
      return [];
    }
  })
  .sort((one, other) => one.at - other.at);
const watchers = new Set();
/** One after the other, so that they arrive in the order they were written. */
let line = Promise.resolve();
let timer;
/** Who is logged in: what another one wrote is not sent in that one's name. */
let writer;

export function writeAs(from) {
  writer = from;
}

function keep(entry) {
  try {
    localStorage.setItem(place + entry.key, JSON.stringify(entry));
  } catch {
    // No room in the browser: it is sent all the same, and lost with this page if it cannot be.
  }
}

function forget(key) {
  localStorage.removeItem(place + key);
  const at = entries.findIndex(one => one.key === key);
  if (at >= 0) {
    entries.splice(at, 1);
  }
}

function changed(message) {
  for (const watcher of watchers) {
    watcher(message);
  }
}

/** Told of every change, with the message where the hub has taken one. */
export function watch(watcher) {
  watchers.add(watcher);
  return () => watchers.delete(watcher);
}

/** Those of one writer to one address. */
export const unsentTo = (from, to) => entries.filter(one => one.from === from && one.draft.to === to);

export function write(from, draft) {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const key = [...bytes].map(byte => byte.toString(16).padStart(2, '0')).join('');
  const entry = { key, from, draft, at: Date.now() };
  entries.push(entry);
  keep(entry);
  changed();
  send(key);
}

export function send(key) {
  line = line.then(() => post(key));
}

async function post(key) {
  const entry = entries.find(one => one.key === key);
  if (entry === undefined || entry.from !== writer) {
    return;
  }
  try {
    const message = await call('POST', '/v1/messages', entry.draft, { 'idempotency-key': key });
    forget(key);
    changed(message);
  } catch (error) {
    const isLater = error.status === 0 || error.status === 401 || error.status === 503;
    entry.why = isLater ? undefined : error.message;
    if (entries.includes(entry)) {
      keep(entry);
    }
    changed();
    if (isLater && entry.from === writer) {
      clearTimeout(timer);
      timer = setTimeout(sendAll, pause, entry.from);
    }
  }
}

/** Tries everything of a writer that nobody has refused. */
export function sendAll(from) {
  for (const { key } of entries.filter(one => one.from === from && one.why === undefined)) {
    send(key);
  }
}

export function drop(key) {
  forget(key);
  changed();
}

/** How many there are, and the way to forget them all. */
export const unsentCount = () => entries.length;

export function dropAll() {
  for (const { key } of [...entries]) {
    forget(key);
  }
  clearTimeout(timer);
  changed();
}
