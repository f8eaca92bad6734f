import { get } from './api.js';
import { button, empty, h, icon, keyed, name, pace, when } from './dom.js';
import { openThread } from './thread.js';
import { kindOf, learn, mark, nameOf, otherEnd, schemeOf, who } from './words.js';

/** When each conversation was looked at last: known to this browser only. */
const seenKey = 'kos-seen';
const readSeen = () => {
  try {
    return JSON.parse(localStorage.getItem(seenKey) ?? '{}');
  } catch {
    return {};
  }
};

/** Conversations, and the one that is open. */
export function talk(app, main, below) {
  const list = h('ul', { class: 'talks' });
  const more = button('Earlier', () => app.show(aside, () => load(cursor)), { hidden: true });
  const aside = h(
    'section',
    { class: 'aside', 'aria-label': 'Conversations' },
    h(
      'div',
      { class: 'head' },
      h('h1', {}, 'Messages'),
      app.may('messages:send') &&
        h('a', { class: 'button small', href: '#/messages/new' }, icon('plus'), 'New'),
    ),
    list,
    more,
  );
  const place = h('section', { class: 'place', 'aria-label': 'Conversation' });
  const seen = readSeen();
  let items = [];
  let cursor = null;
  let open;
  let address;
  main.append(aside, place);

  function look(at) {
    seen[at] = Date.now();
    const kept = Object.entries(seen)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 500);
    localStorage.setItem(seenKey, JSON.stringify(Object.fromEntries(kept)));
  }
  /** What apps write to others the owner may read, but it is no news to anybody here. */
  const isNews = ({ address: at, last }) =>
    last.from !== app.me && (last.from === at || last.to === app.me || schemeOf(at) === 'room');
  const row = ({ address: at, last, isNew, isOpen }) =>
    h(
      'li',
      {},
      h(
        'a',
        {
          class: `talk ${isNew ? 'new' : ''}`,
          href: `#/messages/${encodeURIComponent(at)}`,
          'aria-current': isOpen && 'true',
        },
        mark(at),
        h(
          'span',
          { class: 'grow' },
          h(
            'span',
            { class: 'top' },
            h('span', { class: 'strong' }, name(nameOf(at))),
            h('span', { class: 'quiet small' }, when(last.acceptedAt)),
          ),
          h(
            'span',
            { class: 'snippet' },
            last.from === app.me ? 'You: ' : last.from !== at && [who(last.from), ': '],
            last.text === '' ? (last.attachments > 0 ? 'an attachment' : last.type) : name(last.text),
          ),
          isNew && h('span', { class: 'visually-hidden' }, 'unread'),
        ),
      ),
    );
  function draw() {
    if (items.length === 0) {
      list.replaceChildren(
        h('li', {}, empty('No messages yet', 'What comes from the mesh, apps and rooms appears here.')),
      );
      return;
    }
    const shown = items.map(one => ({
      ...one,
      name: nameOf(one.address),
      isOpen: one.address === address,
      isNew: isNews(one) && one.address !== address && one.last.acceptedAt > (seen[one.address] ?? 0),
    }));
    keyed(list, shown, one => one.address, row);
    app.badge('messages', shown.filter(one => one.isNew).length);
  }
  async function load(after) {
    const page = await get(`/v1/conversations?limit=50${after ? `&after=${after}` : ''}`);
    for (const one of page.items) {
      learn(one.address, one.name);
    }
    const known = after ? items : [];
    items = [...known, ...page.items.filter(one => !known.some(other => other.address === one.address))];
    cursor = page.cursor;
    more.hidden = cursor === null;
    draw();
  }

  function turn(at) {
    open?.close();
    open = undefined;
    address = at;
    main.classList.toggle('opened', at !== '');
    if (at === '') {
      place.replaceChildren(
        h(
          'div',
          { class: 'blank' },
          icon('talk'),
          h('p', {}, 'Choose a conversation, or write to somebody new.'),
        ),
      );
    } else if (at === 'new') {
      place.replaceChildren(fresh());
      place.querySelector('input').focus();
    } else {
      look(at);
      open = openThread(app, place, at);
    }
    draw();
  }

  /** Whom to write to: anybody with an address, those known are offered. */
  function fresh() {
    const options = h('datalist', { id: 'known' });
    const to = h('input', {
      id: 'to',
      list: 'known',
      required: true,
      autocomplete: 'off',
      autocapitalize: 'none',
      spellcheck: 'false',
      placeholder: 'lxmf:0123…',
      'aria-describedby': 'to-help',
    });
    const wrong = h('p', { class: 'wrong', role: 'alert' });
    if (app.may('peers:read')) {
      void get('/v1/peers?order=seen&limit=200').then(
        page =>
          options.append(
            ...page.items.map(one =>
              h('option', { value: one.address, label: one.name ?? kindOf(one.address) }),
            ),
          ),
        () => {},
      );
    }
    void get('/v1/rooms').then(
      page => options.append(...page.items.map(one => h('option', { value: `room:${one.name}` }))),
      () => {},
    );
    const submit = event => {
      event.preventDefault();
      const text = to.value.trim();
      const at = /^[0-9a-f]{32}$/i.test(text) ? `lxmf:${text.toLowerCase()}` : text;
      if (
        /^(?:lxmf:[0-9a-f]{32}|app:[a-z0-9-]{1,32}|room:[a-z0-9][a-z0-9-]{0,31}|(?:mqtt|matrix):\S+)$/.test(
          at,
        )
      ) {
        app.go(`messages/${encodeURIComponent(at)}`);
      } else {
        wrong.textContent =
          'Not an address: lxmf: and 32 hex digits, room: and a name, app: and a name, matrix:@user:server …';
      }
    };
    return h(
      'form',
      { class: 'fresh card', submit },
      h(
        'div',
        { class: 'head' },
        h(
          'a',
          { class: 'button plain only-small', href: '#/messages', 'aria-label': 'Back to all conversations' },
          icon('back'),
        ),
        h('h2', {}, 'New message'),
      ),
      h(
        'div',
        { class: 'field' },
        h('label', { for: 'to' }, 'To'),
        to,
        options,
        h(
          'p',
          { class: 'quiet small', id: 'to-help' },
          'An address of the mesh, a room, an app or a Matrix user. Peers that were heard are offered.',
        ),
      ),
      wrong,
      h('button', { class: 'button main', type: 'submit' }, 'Write'),
    );
  }

  const drawSoon = pace(200, draw);
  app.on(event => {
    open?.event(event);
    if (event.kind === 'message.accepted' && event.message) {
      const { message } = event;
      const at = otherEnd(app.me, message.from, message.to);
      const known = items.find(one => one.address === at);
      const last = { ...message, text: message.text.slice(0, 240), attachments: message.attachments.length };
      items = [{ ...known, address: at, last }, ...items.filter(one => one !== known)].slice(0, 500);
      if (at === address && document.visibilityState === 'visible') {
        look(at);
      }
      drawSoon();
    } else if (event.kind === 'peer.seen') {
      drawSoon();
    }
  });
  const again = () => app.show(aside, () => load());
  turn(below);
  void again();
  return {
    turn,
    back(isMissed) {
      void again();
      open?.back(isMissed);
    },
    close() {
      open?.close();
      drawSoon.stop();
      app.badge('messages', '');
    },
  };
}
