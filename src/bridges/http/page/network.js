import { call, get } from './api.js';
import { amount, button, complain, copyable, count, empty, h, keyed, pace, toast, when } from './dom.js';
import { nameOf, pill } from './words.js';

/** How the mesh is reached: interfaces with their airtime, paths, links. */
export function network(app, main) {
  const cards = h('div', { class: 'cards' });
  const paths = h('tbody');
  const morePaths = button('More', () => app.show(main, () => loadPaths(cursor)), { hidden: true });
  const links = h('ul', { class: 'rows' });
  const linkCard = h('section', { class: 'card', hidden: true }, h('h2', {}, 'Links'), links);
  const pathCard = h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Paths'),
    h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Paths' },
      h(
        'table',
        {},
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            ['Destination', 'Hops', 'Over', 'Heard', 'Holds until'].map(text =>
              h('th', { scope: 'col' }, text),
            ),
          ),
        ),
        paths,
      ),
    ),
    morePaths,
  );
  let cursor = null;
  let known = [];
  const announce = async () => {
    const { sent } = await call('POST', '/v1/mesh/announce').catch(error => {
      complain(error);
      return {};
    });
    if (sent !== undefined) {
      toast(sent ? 'Announced on the mesh.' : 'No interface is up: nobody heard it.', sent ? 'ok' : 'bad');
    }
  };
  main.append(
    h(
      'div',
      { class: 'head' },
      h('h1', {}, 'Network'),
      app.may('admin') && button('Announce now', announce, { kind: 'small' }),
    ),
    cards,
    linkCard,
    pathCard,
  );

  const traffic = (label, { packets, bytes, failed }) =>
    h(
      'div',
      {},
      h('dt', {}, label),
      h(
        'dd',
        {},
        `${amount(bytes, 'B')} in ${count(packets, 'packet')}`,
        failed > 0 && h('span', { class: 'why' }, `, ${failed} not taken`),
      ),
    );
  const card = one =>
    h(
      'section',
      { class: 'card iface' },
      h(
        'div',
        { class: 'head' },
        h('h2', {}, one.name),
        h('span', { class: 'quiet grow' }, one.kind),
        pill(one.state),
      ),
      one.reason && h('p', { class: 'why' }, one.reason, one.since !== undefined && [' · ', when(one.since)]),
      one.airtime && gauge(one.airtime),
      h(
        'dl',
        { class: 'facts' },
        h('div', {}, h('dt', {}, 'Speed'), h('dd', {}, amount(one.bitrate, 'bit/s'))),
        one.radio && h('div', {}, h('dt', {}, 'Radio'), h('dd', {}, radioWords(one.radio))),
        one.address && h('div', {}, h('dt', {}, 'Listens on'), h('dd', {}, copyable(one.address, 'address'))),
        traffic('Received', one.rx),
        traffic('Sent', one.tx),
      ),
      one.adapters?.length > 0 && h('ul', { class: 'rows' }, one.adapters.map(adapter)),
      one.peers.length > 0 &&
        h(
          'details',
          {},
          h('summary', {}, count(one.peers.length, 'peer')),
          h(
            'ul',
            { class: 'rows' },
            one.peers
              .slice(0, 100)
              .map(peer =>
                h(
                  'li',
                  { class: 'row' },
                  h('code', { class: 'grow' }, peer.name.slice(one.name.length + 1)),
                  h(
                    'span',
                    { class: 'quiet' },
                    `↓ ${amount(peer.rx.bytes, 'B')} ↑ ${amount(peer.tx.bytes, 'B')}`,
                  ),
                ),
              ),
          ),
        ),
    );

  async function loadInterfaces() {
    const { items } = await get('/v1/mesh/interfaces');
    const own = items
      .filter(one => one.parent === undefined)
      .map(one => ({ ...one, peers: items.filter(peer => peer.parent === one.name) }));
    if (own.length === 0) {
      cards.replaceChildren(
        h(
          'div',
          { class: 'card' },
          empty(
            'No interface',
            'Nothing joins this hub to a mesh yet: add one under interfaces: in kos.yaml.',
          ),
        ),
      );
    } else {
      keyed(cards, own, one => one.name, card);
    }
  }
  async function loadLinks() {
    const { items } = await get('/v1/mesh/links?limit=200');
    linkCard.hidden = items.length === 0;
    keyed(
      links,
      items,
      one => one.id,
      one =>
        h(
          'li',
          { class: 'row' },
          h(
            'div',
            { class: 'grow' },
            h('span', { class: 'strong' }, nameOf(`lxmf:${one.destination}`)),
            h('p', { class: 'quiet' }, `over ${one.interface} · ${one.role}`),
          ),
          h('span', { class: 'quiet' }, one.rtt > 0 ? `${one.rtt} ms` : ''),
          h('span', { class: 'pill idle' }, one.state),
        ),
    );
  }
  async function loadPaths(after) {
    const page = await get(`/v1/mesh/paths?limit=50${after ? `&after=${after}` : ''}`);
    known = after ? [...known, ...page.items] : page.items;
    cursor = page.cursor;
    morePaths.hidden = cursor === null;
    if (known.length === 0) {
      paths.replaceChildren(
        h(
          'tr',
          {},
          h('td', { colspan: '5' }, empty('No path yet', 'A path is learnt when somebody announces.')),
        ),
      );
    } else {
      keyed(
        paths,
        known,
        one => one.destination,
        one => {
          const peer = nameOf(`lxmf:${one.destination}`);
          return h(
            'tr',
            {},
            h(
              'td',
              {},
              h('span', { class: 'strong' }, peer.includes('…') ? '' : peer),
              ' ',
              h('code', { title: one.destination }, one.destination),
            ),
            h('td', { class: 'number' }, one.hops),
            h('td', {}, one.interface),
            h('td', {}, when(one.heard)),
            h('td', {}, when(one.expires)),
          );
        },
      );
    }
  }
  const again = () =>
    app.show(
      main,
      async () =>
        void (await Promise.all([loadInterfaces(), loadLinks(), known.length <= 50 && loadPaths()])),
    );
  const soon = pace(1000, again);
  // Traffic and airtime are no events.
  const slow = pace(10_000, () => again().then(slow));
  app.on(({ kind }) => /^(?:interface|path|link|peer)\./.test(kind) && soon());
  void again().then(slow);
  return {
    back: again,
    close() {
      soon.stop();
      slow.stop();
    },
  };
}

/** A network adapter of a LAN, and why it is not used. */
function adapter(one) {
  return h(
    'li',
    { class: 'row' },
    h(
      'div',
      { class: 'grow' },
      h('code', {}, one.adapter),
      one.reason && h('p', { class: 'why small' }, one.reason),
    ),
    pill(one.state),
  );
}

/** How much of the hour's airtime is used, and until when it is used up. */
function gauge({ usedMs, budgetMs, limitPercent, longPercent, until }) {
  const part = Math.min(usedMs / budgetMs, 1);
  const seconds = ms =>
    `${(ms / 1000).toLocaleString(undefined, { maximumFractionDigits: ms < 10_000 ? 1 : 0 })} s`;
  const text = `${seconds(usedMs)} of ${seconds(budgetMs)} in the last hour`;
  const fill = h('span', { class: 'fill' });
  fill.style.setProperty('--part', part);
  return h(
    'div',
    { class: `gauge ${until !== undefined || part > 0.85 ? 'bad' : part > 0.5 ? 'wait' : 'ok'}` },
    h('div', { class: 'head' }, h('span', { class: 'strong' }, 'Airtime'), h('span', {}, text)),
    h(
      'div',
      {
        class: 'track',
        role: 'meter',
        'aria-label': 'Airtime used',
        'aria-valuemin': '0',
        'aria-valuemax': Math.round(budgetMs / 1000),
        'aria-valuenow': Math.round(usedMs / 1000),
        'aria-valuetext': text,
      },
      fill,
    ),
    h(
      'p',
      { class: 'quiet small' },
      `${longPercent.toFixed(1)} % of ${limitPercent} % allowed`,
      until !== undefined && [' · ordinary messages wait until ', when(until, 'clock')],
    ),
  );
}

/** `869.525 MHz, SF8/125 kHz, 14 dBm · ESP32, firmware 1.86 · noise −117 dBm` */
function radioWords({ frequency, spreadingFactor, bandwidth, txPower, device, noiseFloor }) {
  return [
    `${frequency / 1e6} MHz, SF${spreadingFactor}/${bandwidth / 1000} kHz, ${txPower} dBm`,
    device,
    noiseFloor !== undefined && `noise ${noiseFloor} dBm`,
  ]
    .filter(Boolean)
    .join(' · ');
}
