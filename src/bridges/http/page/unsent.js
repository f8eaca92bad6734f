import { call } from './api.js';

/**
 * What was written here and is not on the hub's disk yet. It outlives a reload, and is sent under the same key until
 * the hub has answered: the hub takes it once, however often it is sent.
 */

const place = 'kos-unsent';
/** ms until it is tried again where nobody answered. */
const pause = 5000;

const entries = (() => {
  try {
    return JSON.parse(localStorage.getItem(place) ?? '[]');
  } catch {
    return [];
  }
})();
const watchers = new Set();
/** One after the other, so that they arrive in the order they were written. */
let line = Promise.resolve();
let timer;

function changed(message) {
  localStorage.setItem(place, JSON.stringify(entries));
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
  entries.push({ key, from, draft });
  changed();
  send(key);
}

export function send(key) {
  line = line.then(() => post(key));
}

async function post(key) {
  const entry = entries.find(one => one.key === key);
  if (entry === undefined) {
    return;
  }
  try {
    const message = await call('POST', '/v1/messages', entry.draft, { 'idempotency-key': key });
    entries.splice(entries.indexOf(entry), 1);
    changed(message);
  } catch (error) {
    const isLater = error.status === 0 || error.status === 401 || error.status === 503;
    entry.why = isLater ? undefined : error.message;
    changed();
    if (isLater) {
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
  entries.splice(
    entries.findIndex(one => one.key === key),
    1,
  );
  changed();
}

/** How many there are, and the way to forget them all. */
export const unsentCount = () => entries.length;

export function dropAll() {
  entries.length = 0;
  clearTimeout(timer);
  changed();
}
