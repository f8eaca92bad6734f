/** Calls of the hub. Every answer that is no success is thrown as a Problem; status 0 means that nobody answered. */

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `status ${status}`);
    this.status = status;
    this.code = body.code ?? '';
    this.errors = body.errors ?? [];
  }
}

/** Marks a call as one of this page: the cookie counts only beside it. */
const own = { 'kos-page': '1' };

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...own, ...options.headers } });
  } catch (error) {
    if (options.signal?.aborted) {
      throw error;
    }
    throw new Problem(0, { detail: 'the hub cannot be reached', code: 'offline' });
  }
  if (!answer.ok) {
    throw new Problem(answer.status, await answer.json().catch(() => ({})));
  }
  return answer;
}

export async function call(method, path, body, headers = {}) {
  const raw = body instanceof Blob;
  const type = raw ? body.type || 'application/octet-stream' : 'application/json';
  const answer = await ask(path, {
    method,
    headers: { ...(body !== undefined && { 'content-type': type }), ...headers },
    body: raw || body === undefined ? body : JSON.stringify(body),
  });
  return answer.status === 204 ? undefined : answer.json();
}

export const get = path => call('GET', path);

/** The bytes of an attachment, as the type they shall be used as. */
export async function blob(sha256, type) {
  const answer = await ask(`/v1/blobs/${sha256}`, { method: 'GET' });
  return new Blob([await answer.arrayBuffer()], { type });
}

/**
 * ms that a page nobody looks at keeps its stream: a browser has only a few connections to a host, for all its tabs.
 */
const unseen = 60_000;

/** ms without a sign of life, and between tries at first and at most. The hub sends something every 15 s. */
const silence = 40_000;
const firstWait = 1000;
const longestWait = 15_000;

/**
 * Follows the events of the hub, going on where it was after every break. `tell.event` gets each,
 * `tell.state` `live`, `waiting` (with when it is tried again), `missed` (what happened meanwhile is not kept: read
 * everything again), `paused` (nobody looks), `out` (the log-in has ended) or `none` (this token may not). Gives the way to stop.
 */
export function follow(tell) {
  const stop = new AbortController();
  let stream = new AbortController();
  let cursor;
  let hiding;
  let wake = () => {};
  let isUnseen = false;
  const look = () => {
    clearTimeout(hiding);
    if (document.visibilityState === 'hidden') {
      hiding = setTimeout(() => {
        isUnseen = true;
        stream.abort();
      }, unseen);
    } else {
      isUnseen = false;
      wake();
    }
  };
  const begin = async () => {
    stream = new AbortController();
    const answer = await ask('/v1/events', {
      method: 'GET',
      headers: cursor === undefined ? {} : { 'last-event-id': cursor },
      signal: AbortSignal.any([stop.signal, stream.signal]),
    });
    tell.state('live');
    await read(answer.body.getReader(), ({ id, data }) => {
      cursor = id ?? cursor;
      if (data !== '') {
        tell.event(JSON.parse(data));
      }
    });
  };
  const pause = delay =>
    new Promise(resolve => {
      wake = resolve;
      if (delay !== undefined) {
        setTimeout(resolve, delay);
      }
    });
  const run = async () => {
    for (let wait = firstWait; !stop.signal.aborted; wait = Math.min(wait * 2, longestWait)) {
      if (isUnseen) {
        tell.state('paused');
        await pause();
        wait = firstWait;
      }
      const began = Date.now();
      try {
        await begin();
      } catch (error) {
        if (error.status === 410) {
          cursor = undefined;
          tell.state('missed');
          continue;
        }
        if (error.status === 401 || error.status === 403) {
          tell.state(error.status === 401 ? 'out' : 'none');
          return;
        }
      }
      if (stop.signal.aborted) {
        return;
      }
      if (isUnseen) {
        continue;
      }
      wait = Date.now() - began > silence ? firstWait : wait;
      const delay = wait * (0.5 + Math.random() / 2);
      tell.state('waiting', Date.now() + delay);
      await pause(delay);
    }
  };
  window.addEventListener('online', look);
  document.addEventListener('visibilitychange', look);
  void run();
  return () => {
    stop.abort();
    clearTimeout(hiding);
    wake();
    window.removeEventListener('online', look);
    document.removeEventListener('visibilitychange', look);
  };
}

/**
 * Reads a stream of events until it ends or falls silent. A line ends with a line feed alone: what else ends lines
 * elsewhere (U+2028) is text of somebody's. Source: WHATWG HTML §9.2.6.
 */
async function read(reader, take) {
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    let timer;
    const quiet = new Promise(resolve => {
      timer = setTimeout(resolve, silence, { done: true });
    });
    const { done, value } = await Promise.race([reader.read(), quiet]);
    clearTimeout(timer);
    if (done) {
      await reader.cancel();
      return;
    }
    const blocks = (rest + decoder.decode(value, { stream: true })).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = block.split('\n').map(line => /^(\w*): ?(.*)$/s.exec(line) ?? []);
      take({
        id: fields.find(([, field]) => field === 'id')?.[2],
        data: fields.flatMap(([, field, text]) => (field === 'data' ? [text] : [])).join('\n'),
      });
    }
  }
}
