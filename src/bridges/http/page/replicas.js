import { call, get } from './api.js';
import { amount, button, complain, count, empty, h, keyed, pace, sureButton, when } from './dom.js';
import { pill } from './words.js';

/** The replicas of cloud services: reachable or not, what is kept, and the writes that wait. */
export function replicas(app, main) {
  const cards = h('div', { class: 'cards one' });
  main.append(h('h1', {}, 'Replicas'), cards);

  const act = (method, path, body) => call(method, `/v1/replicas/${path}`, body).then(again, complain);
  const operation = one => {
    const at = `${one.service}/queue/${one.id}`;
    const decide = (label, how) =>
      button(label, () => act('POST', `${at}/resolve`, { how }), { kind: 'small' });
    const side = (label, text) =>
      text !== undefined && h('div', {}, h('h4', {}, label), h('pre', { tabindex: '0' }, text));
    return h(
      'li',
      { class: 'row top' },
      h(
        'div',
        { class: 'grow' },
        h('p', {}, h('code', {}, `${one.method} ${one.path}`)),
        h(
          'span',
          { class: 'line' },
          pill(one.state),
          one.reason && h('span', { class: 'why' }, one.reason),
          one.nextAt !== undefined && h('span', { class: 'why' }, 'next attempt ', when(one.nextAt)),
        ),
        h(
          'p',
          { class: 'quiet small' },
          'written ',
          when(one.createdAt),
          ' · ',
          count(one.attempts, 'attempt'),
        ),
        one.conflict &&
          h(
            'div',
            { class: 'sides' },
            side('Before', one.conflict.base),
            side('Written here', one.conflict.mine),
            side('In the cloud', one.conflict.theirs),
          ),
        h(
          'div',
          { class: 'acts' },
          one.state === 'conflict' && [
            decide('Keep what was written here', 'mine'),
            decide('Keep the cloud’s', 'theirs'),
          ],
          one.state === 'ambiguous' && [
            decide('It arrived', 'sent'),
            decide('It did not arrive', 'not-sent'),
          ],
          button('Try now', () => act('POST', `${at}/retry`), { kind: 'small' }),
          sureButton('Discard', 'Really discard', () => act('DELETE', at)),
        ),
      ),
    );
  };
  const card = ({ queue, ...one }) => {
    const list = h('ul', { class: 'rows' });
    keyed(list, queue.items, row => row.id, operation);
    const { waiting, blocked, conflicts } = queue.counts;
    return h(
      'section',
      { class: 'card' },
      h('div', { class: 'head' }, h('h2', { class: 'grow' }, one.title), pill(one.link)),
      h('p', { class: 'why' }, one.reason, one.reason && ' · ', when(one.since)),
      h(
        'dl',
        { class: 'facts' },
        h('div', {}, h('dt', {}, 'Address'), h('dd', {}, h('code', {}, `/svc/${one.id}/`))),
        one.lastGoodAt !== undefined &&
          h('div', {}, h('dt', {}, 'Answered last'), h('dd', {}, when(one.lastGoodAt))),
        h(
          'div',
          {},
          h('dt', {}, 'Kept'),
          h('dd', {}, `${count(one.cached.entries, 'answer')}, ${amount(one.cached.bytes, 'B')}`),
        ),
        h(
          'div',
          {},
          h('dt', {}, 'Writes'),
          h(
            'dd',
            {},
            [
              `${waiting} waiting`,
              blocked > 0 && `${blocked} blocked`,
              conflicts > 0 && count(conflicts, 'conflict'),
            ]
              .filter(Boolean)
              .join(', '),
          ),
        ),
      ),
      queue.items.length > 0 && list,
      queue.more && h('p', { class: 'quiet' }, 'Only the oldest 200 are shown.'),
      app.may('admin') &&
        h(
          'div',
          { class: 'acts' },
          one.link === 'forced'
            ? button('Let it go online', () => act('POST', `${one.id}/link`, { offline: false }), {
                kind: 'small',
              })
            : button('Take it offline', () => act('POST', `${one.id}/link`, { offline: true }), {
                kind: 'small',
              }),
        ),
    );
  };
  async function load() {
    const { items } = await get('/v1/replicas');
    const all = await Promise.all(
      items.map(async one => {
        const page = app.may('admin')
          ? await get(`/v1/replicas/${one.id}/queue?limit=200`)
          : { items: [], cursor: null };
        return { ...one, queue: { counts: one.queue, items: page.items, more: page.cursor !== null } };
      }),
    );
    if (all.length === 0) {
      cards.replaceChildren(
        h(
          'div',
          { class: 'card' },
          empty(
            'No replica',
            'Definitions of cloud services go under replicas: in kos.yaml; two come with the gateway.',
          ),
        ),
      );
    } else {
      keyed(cards, all, one => one.id, card);
    }
  }
  const again = () => app.show(main, load);
  const slow = pace(5000, () => again().then(slow));
  void again().then(slow);
  return { back: again, close: slow.stop };
}
