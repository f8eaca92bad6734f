import { call, get } from './api.js';
import { button, complain, count, empty, h, keyed, name, pace, sureButton, when } from './dom.js';
import { deliveryLine, mark, who } from './words.js';

const tabs = [
  {
    state: 'queued',
    label: 'Waiting',
    none: ['Nothing waits', 'Everything that was accepted has been delivered, or has come to an end.'],
  },
  {
    state: 'failed',
    label: 'Failed',
    none: ['Nothing failed', 'Deliveries that the far side refused would be listed here.'],
  },
  {
    state: 'expired',
    label: 'Expired',
    none: [
      'Nothing expired',
      'Messages have a time after which they are of no use: seven days unless they say otherwise.',
    ],
  },
  {
    state: 'ambiguous',
    label: 'Uncertain',
    none: [
      'Nothing is uncertain',
      'Deliveries of which nobody knows whether they arrived would be listed here.',
    ],
  },
];

/** What waits and why, and what came to nothing. */
export function queue(app, main, below) {
  const list = h('ul', { class: 'rows' });
  const more = button('More', () => app.show(main, () => load(cursor)), { hidden: true });
  const total = h('p', { class: 'quiet', role: 'status' });
  const bar = h('nav', { class: 'tabs', 'aria-label': 'States' });
  let tab = tabs[0];
  let items = [];
  let cursor = null;
  let asked = 0;
  main.append(h('h1', {}, 'Queue'), h('section', { class: 'card' }, bar, total, list, more));

  const row = one => {
    const { message } = one;
    const isOpen = tab.state === 'queued';
    const act = (verb, what = '') =>
      call(verb, `/v1/deliveries/${one.id}${what}`).then(() => load(), complain);
    return h(
      'li',
      { class: 'row top' },
      mark(one.to),
      h(
        'div',
        { class: 'grow' },
        h(
          'p',
          {},
          h('span', { class: 'quiet' }, 'to '),
          h('a', { class: 'strong', href: `#/messages/${encodeURIComponent(message.to)}` }, who(one.to)),
        ),
        deliveryLine(one),
        h('p', { class: 'snippet' }, message.text === '' ? h('code', {}, message.type) : name(message.text)),
        h(
          'p',
          { class: 'quiet small' },
          'from ',
          who(message.from),
          ' · accepted ',
          when(message.acceptedAt),
          isOpen && [' · expires ', when(message.expiresAt)],
          ' · ',
          count(one.attempts, 'attempt'),
          message.priority !== 'normal' && ` · ${message.priority}`,
        ),
      ),
      app.may('messages:send') &&
        h(
          'div',
          { class: 'acts' },
          isOpen && button('Try now', () => act('POST', '/retry')),
          isOpen && sureButton('Cancel', 'Really cancel', () => act('DELETE')),
          (tab.state === 'failed' || tab.state === 'ambiguous') &&
            button('Send again', () => act('POST', '/retry')),
          tab.state === 'ambiguous' && sureButton('Settle', 'Really settle', () => act('DELETE')),
        ),
    );
  };
  async function load(after) {
    const mine = ++asked;
    const page = await get(`/v1/deliveries?state=${tab.state}&limit=50${after ? `&after=${after}` : ''}`);
    if (mine !== asked) {
      return;
    }
    items = after ? [...items, ...page.items] : page.items;
    cursor = page.cursor;
    more.hidden = cursor === null;
    total.textContent =
      items.length === 0
        ? ''
        : `${count(items.length, 'delivery', 'deliveries')}${cursor === null ? '' : ' and more'}, the ${tab.state === 'queued' ? 'oldest' : 'newest'} first`;
    if (items.length === 0) {
      list.replaceChildren(h('li', {}, empty(...tab.none)));
    } else {
      keyed(list, items, one => one.id, row);
    }
  }
  const again = () => app.show(main, () => load());
  function turn(state) {
    tab = tabs.find(one => one.state === state) ?? tabs[0];
    bar.replaceChildren(
      ...tabs.map(one =>
        h('a', { href: `#/queue/${one.state}`, 'aria-current': one === tab && 'true' }, one.label),
      ),
    );
    list.replaceChildren();
    void again();
  }
  const soon = pace(500, again);
  app.on(({ kind }) => /^(?:delivery|message|health)\./.test(kind) && items.length <= 50 && soon());
  turn(below);
  return { turn, back: again, close: soon.stop };
}
