import { get } from './api.js';
import { button, copyable, count, empty, h, keyed, name, pace, when } from './dom.js';
import { kindOf, learn, mark, nameOf, who } from './words.js';

/** Who was heard, and the rooms there are. */
export function peers(app, main) {
  const list = h('ul', { class: 'rows' });
  const rooms = h('ul', { class: 'rows' });
  const more = button('More', () => app.show(main, () => load(cursor)), { hidden: true });
  const search = h('input', {
    type: 'search',
    id: 'search',
    placeholder: 'Name or address',
    autocomplete: 'off',
    input: () => look(),
  });
  let cursor = null;
  let items = [];
  let asked = 0;

  const roomCard = h('section', { class: 'card', hidden: true }, h('h2', {}, 'Rooms'), rooms);
  const found = h('p', { class: 'quiet', role: 'status' });
  main.append(
    h('h1', {}, 'Peers'),
    h(
      'section',
      { class: 'card' },
      h(
        'div',
        { class: 'head' },
        h('div', { class: 'field grow' }, h('label', { for: 'search' }, 'Search'), search),
        app.may('messages:send') &&
          h('a', { class: 'button', href: '#/messages/new' }, 'Write to an address'),
      ),
      found,
      list,
      more,
    ),
    roomCard,
  );

  function draw(isEnd) {
    if (items.length === 0) {
      list.replaceChildren(
        h(
          'li',
          {},
          search.value
            ? empty(
                'Nobody of that name',
                'Only who was heard can be found; an address can be written to all the same.',
              )
            : empty('Nobody was heard yet', 'Peers appear here when they announce themselves.'),
        ),
      );
    } else {
      keyed(list, items, one => one.address, row);
    }
    more.hidden = isEnd;
    found.textContent =
      items.length === 0
        ? ''
        : `${count(items.length, 'peer')}${isEnd ? '' : ' and more'}, the one heard last first`;
  }
  const row = one =>
    h(
      'li',
      { class: 'row' },
      mark(one.address),
      h(
        'div',
        { class: 'grow' },
        h(
          'a',
          { class: 'strong', href: `#/messages/${encodeURIComponent(one.address)}` },
          name(one.name ?? nameOf(one.address)),
        ),
        copyable(one.address, 'address'),
      ),
      h(
        'div',
        { class: 'side quiet' },
        one.lastSeen === undefined ? 'not heard yet' : when(one.lastSeen),
        h(
          'span',
          {},
          one.hops === undefined ? kindOf(one.address) : one.hops <= 1 ? 'neighbour' : count(one.hops, 'hop'),
        ),
      ),
    );

  async function load(after) {
    const mine = ++asked;
    const words = search.value.trim();
    const page = await get(
      `/v1/peers?order=seen&limit=50${words && `&search=${encodeURIComponent(words)}`}${after ? `&after=${after}` : ''}`,
    );
    if (mine !== asked) {
      return;
    }
    for (const one of page.items) {
      learn(one.address, one.name);
    }
    const known = after ? items : [];
    items = [...known, ...page.items.filter(one => !known.some(other => other.address === one.address))];
    cursor = page.cursor;
    draw(page.cursor === null);
  }
  async function loadRooms() {
    if (!app.may('messages:read')) {
      return;
    }
    const { items: all } = await get('/v1/rooms');
    roomCard.hidden = all.length === 0;
    keyed(
      rooms,
      all,
      one => one.name,
      one =>
        h(
          'li',
          { class: 'row' },
          mark(`room:${one.name}`),
          h(
            'div',
            { class: 'grow' },
            h(
              'a',
              { class: 'strong', href: `#/messages/${encodeURIComponent(`room:${one.name}`)}` },
              name(nameOf(`room:${one.name}`)),
            ),
            one.addresses.map(address => copyable(address, 'address of the room')),
            h(
              'p',
              { class: 'members' },
              one.members.length === 0
                ? 'no members: what is said there is kept'
                : one.members.flatMap((member, at) => [at > 0 && ', ', who(member)]),
            ),
          ),
        ),
    );
  }
  const look = pace(250, () => app.show(main, () => load()));
  const heard = pace(1500, () => app.show(main, () => load()));
  app.on(({ kind }) => kind === 'peer.seen' && items.length <= 50 && heard());
  const all = () => app.show(main, async () => void (await Promise.all([load(), loadRooms()])));
  void all();
  return {
    back: all,
    close() {
      look.stop();
      heard.stop();
    },
  };
}
