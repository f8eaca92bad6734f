import { call } from './api.js';
import { button, complain, copyable, count, fill, h, keyed, name, pace, toast, when } from './dom.js';
import { pill } from './words.js';

/** How the hub is, what is wrong by name, and where it is reached. */
export function home(app, main) {
  const hero = h('section', { class: 'hero', 'aria-live': 'polite' });
  const addresses = h('dl', { class: 'facts' });
  const parts = h('ul', { class: 'rows' });
  const facts = h('dl', { class: 'facts' });
  const counters = h('dl', { class: 'facts counters' });
  const announce = async event => {
    event.currentTarget.disabled = true;
    try {
      const { sent } = await call('POST', '/v1/mesh/announce');
      toast(sent ? 'Announced on the mesh.' : 'No interface is up: nobody heard it.', sent ? 'ok' : 'bad');
    } catch (error) {
      complain(error);
    } finally {
      event.target.disabled = false;
    }
  };
  const heading = h('h1', {}, 'Hub');
  main.append(
    heading,
    hero,
    h(
      'section',
      { class: 'card' },
      h(
        'div',
        { class: 'head' },
        h('h2', {}, 'Addresses'),
        app.may('admin') && button('Announce now', announce, { kind: 'small' }),
      ),
      addresses,
    ),
    h('section', { class: 'card' }, h('h2', {}, 'Parts'), parts),
    h(
      'section',
      { class: 'card' },
      h('h2', {}, 'About'),
      facts,
      h('details', {}, h('summary', {}, 'Counters since the start'), counters),
    ),
  );

  const fact = ([label, value]) => h('div', {}, h('dt', {}, label), h('dd', {}, value));
  async function load() {
    const status = await app.status();
    const { hub, services, failures, queued } = status;
    heading.replaceChildren(name(hub.name));
    const isWell = failures.length === 0 && status.ready;
    hero.className = `hero ${isWell ? 'ok' : status.ready ? 'wait' : 'bad'}`;
    fill(hero, { failures, ready: status.ready, queued: isWell && queued }, () => verdict(status, isWell));
    fill(addresses, [hub.lxmf, status.addresses, status.residents], () => doors(status).map(fact));
    keyed(parts, services, one => one.name, part);
    fill(facts, [hub, queued], () =>
      [
        ['Waiting', h('a', { href: '#/queue' }, count(queued, 'delivery', 'deliveries'))],
        ['Identity', copyable(hub.id, 'identity hash')],
        ['Version', hub.version],
        ['Starts', hub.boot.toLocaleString()],
        ['Forwards for others', hub.transport],
      ].map(fact),
    );
    fill(counters, status.counters, values =>
      Object.entries(values).map(([key, value]) => fact([h('code', {}, key), value.toLocaleString()])),
    );
  }
  const again = () => app.show(main, load);
  const soon = pace(700, again);
  app.on(({ kind }) => kind !== 'peer.seen' && soon());
  void again();
  return { back: again, close: soon.stop };
}

function verdict({ ready, failures, queued }, isWell) {
  if (isWell) {
    const waiting = h('a', { href: '#/queue' }, count(queued, 'delivery waits', 'deliveries wait'));
    return [
      h('p', { class: 'verdict' }, 'Everything works'),
      h('p', {}, queued > 0 ? waiting : 'Nothing waits to be delivered.'),
    ];
  }
  const failure = one => h('li', {}, h('strong', {}, one.name), ': ', one.reason, ' · ', when(one.since));
  return [
    h('p', { class: 'verdict' }, `${count(failures.length, 'part does', 'parts do')} not work`),
    h('ul', {}, failures.map(failure)),
    ready && h('p', {}, 'The hub goes on without: messages are taken and wait.'),
  ];
}

/** Where the hub and those who live on it are reached. */
function doors({ hub, addresses, residents = [] }) {
  const names = { mqtt: 'MQTT', replicas: 'Replicas' };
  return [
    ['LXMF', copyable(hub.lxmf, 'LXMF address')],
    ['Web and API', copyable(location.origin, 'web address')],
    ...Object.entries(addresses).map(([door, url]) => [
      names[door] ?? door,
      copyable(url, `${door} address`),
    ]),
    ...residents.flatMap(one =>
      one.addresses.map(address => [name(one.name), copyable(address, `address of ${one.name}`)]),
    ),
  ];
}

function part(one) {
  return h(
    'li',
    { class: 'row' },
    h(
      'div',
      { class: 'grow' },
      h('strong', {}, one.name),
      one.reason && h('p', { class: 'why' }, one.reason),
    ),
    h('span', { class: 'quiet' }, when(one.since)),
    pill(one.state),
  );
}
