import { get } from './api.js';
import { createBubbles } from './bubble.js';
import { createComposer } from './composer.js';
import { button, copyable, count, day, h, icon, keyed, name, pace, when } from './dom.js';
import { drop, send, unsentTo, watch, write } from './unsent.js';
import { learn, mark, nameOf, otherEnd, restOf, schemeOf } from './words.js';

/** Messages that change another one, and are shown in its place. */
const changes = new Set(['chat.edit', 'chat.redaction', 'chat.reaction', 'chat.receipt']);

/** Messages held at once while new ones come in: then it begins again with the newest. */
const mostShown = 500;

/** One conversation: read, write, answer, and see what becomes of it. */
export function openThread(app, place, address) {
  /** By id, the oldest first. */
  let messages = new Map();
  const urls = [];
  const log = h('div', { class: 'log', tabindex: '0', role: 'log', 'aria-label': 'Messages' });
  const earlier = button('Earlier messages', () => load(cursor), { kind: 'small', hidden: true });
  const body = h('div', { class: 'scroller' }, h('div', { class: 'earlier' }, earlier), log);
  const title = h('h2', {}, name(nameOf(address)));
  const about = h('p', { class: 'quiet small' }, copyable(address, 'address'));
  let cursor = null;
  let closed = false;
  let isAtEnd = true;

  /** What was said between two far sides belongs to both. */
  const belongs = ({ from, to }) =>
    otherEnd(app.me, from, to) === address ||
    (address === 'room:hub' && to === address) ||
    (to === address && schemeOf(from) !== 'app');
  const { bubble, heldBubble } = createBubbles({
    app,
    urls,
    messageOf: id => messages.get(id),
    answer: message => composer?.answer(message),
    take,
    retry: send,
    discard: drop,
  });
  const composer = app.may('messages:send')
    ? createComposer(address, draft => {
        isAtEnd = true;
        write(app.me, draft);
      })
    : undefined;

  const back = h(
    'a',
    { class: 'button plain only-small', href: '#/messages', 'aria-label': 'Back to all conversations' },
    icon('back'),
  );
  place.replaceChildren(
    h('div', { class: 'thread-head' }, back, mark(address), h('div', { class: 'grow' }, title, about)),
    body,
    composer?.element ?? h('p', { class: 'quiet composer' }, 'This token may not send.'),
  );
  if (schemeOf(address) === 'lxmf' && app.may('peers:read')) {
    void introduce();
  }

  // Stays at the newest message while images load and states change, unless the reader has gone up.
  body.addEventListener('scroll', () => {
    isAtEnd = body.scrollHeight - body.scrollTop - body.clientHeight < 60;
  });
  const stick = new ResizeObserver(() => {
    if (isAtEnd) {
      body.scrollTop = body.scrollHeight;
    }
  });
  stick.observe(log);
  stick.observe(body);

  async function introduce() {
    const peer = await get(`/v1/peers/${encodeURIComponent(address)}`).catch(() => undefined);
    if (peer === undefined) {
      about.append(h('span', {}, 'not heard yet'));
      return;
    }
    learn(address, peer.name);
    title.replaceChildren(name(nameOf(address)));
    const hops = peer.hops !== undefined && ` · ${peer.hops <= 1 ? 'neighbour' : count(peer.hops, 'hop')}`;
    const heard = peer.lastSeen === undefined ? ['not heard yet'] : ['heard ', when(peer.lastSeen)];
    about.append(h('span', {}, ...heard, hops));
  }

  async function load(after) {
    const fromEnd = body.scrollHeight - body.scrollTop;
    await app.show(place, async () => {
      const where =
        schemeOf(address) === 'room' ? `room=${restOf(address)}` : `peer=${encodeURIComponent(address)}`;
      const page = await get(`/v1/messages?${where}&limit=40${after ? `&after=${after}` : ''}`);
      const older = page.items
        .filter(belongs)
        .reverse()
        .map(one => [one.id, one]);
      messages = new Map(after ? [...older, ...messages] : older);
      cursor = page.cursor;
      earlier.hidden = cursor === null;
      draw();
    });
    if (after) {
      body.scrollTop = body.scrollHeight - fromEnd;
    }
  }

  function draw() {
    if (closed) {
      return;
    }
    const items = [...shownMessages(), ...unsentTo(app.me, address).map(one => ({ ...one, isHeld: true }))];
    let before = '';
    let author = '';
    for (const one of items) {
      const date = one.isHeld ? before : day(one.acceptedAt);
      one.date = date !== before && date;
      one.follows = date === before && one.from === author;
      before = date;
      author = one.from;
    }
    if (items.length === 0) {
      log.replaceChildren(h('p', { class: 'blank' }, 'Nothing was said here yet.'));
      return;
    }
    const keyOf = one => one.id ?? one.key;
    keyed(log, items, keyOf, one => (one.isHeld ? heldBubble(one) : bubble(one)));
  }

  /** Messages with what later ones have made of them. */
  function shownMessages() {
    const all = [...messages.values()].sort((a, b) => a.acceptedAt - b.acceptedAt);
    const rows = new Map(
      all
        .filter(one => !changes.has(one.type) || !messages.has(one.inReplyTo))
        .map(one => [one.id, { ...one, author: nameOf(one.from), marks: [] }]),
    );
    for (const { type, inReplyTo, text, from } of all) {
      const row = rows.get(inReplyTo);
      if (row === undefined) {
        continue;
      }
      if (type === 'chat.reaction') {
        row.marks.push({ text, from });
      } else if (type === 'chat.edit' && from === row.from) {
        row.edit = text;
      } else if (type === 'chat.redaction' && from === row.from) {
        row.isGone = true;
      }
    }
    return [...rows.values()];
  }

  const drawSoon = pace(50, draw);

  function take(message) {
    messages.set(message.id, message);
    if (messages.size > mostShown && isAtEnd) {
      void load();
    } else {
      drawSoon();
    }
  }

  const unwatch = watch(message => {
    if (message !== undefined && belongs(message)) {
      // An event may have told more of it meanwhile.
      const told = messages.get(message.id)?.deliveries ?? [];
      take(told.length > 0 ? { ...message, deliveries: told } : message);
    } else {
      draw();
    }
  });

  void load();
  return {
    event({ kind, message, delivery }) {
      if (kind === 'message.accepted' && message && belongs(message)) {
        take({ ...message, deliveries: messages.get(message.id)?.deliveries ?? [] });
      } else if (kind === 'delivery.changed' && messages.has(delivery.message)) {
        const known = messages.get(delivery.message);
        const others = known.deliveries.filter(one => one.id !== delivery.id);
        const deliveries = [...others, delivery].sort((a, b) => (a.id < b.id ? -1 : 1));
        take({ ...known, deliveries });
      }
    },
    back(isMissed) {
      if (isMissed) {
        void load();
      }
    },
    close() {
      closed = true;
      drawSoon.stop();
      stick.disconnect();
      unwatch();
      for (const url of urls) {
        URL.revokeObjectURL(url);
      }
    },
  };
}
