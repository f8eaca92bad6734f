import { access } from './access.js';
import { call, follow, get } from './api.js';
import { button, complain, count, h, icon, pace, refreshTimes, toast, when } from './dom.js';
import { home } from './home.js';
import { me as logIns } from './me.js';
import { network } from './network.js';
import { peers } from './peers.js';
import { queue } from './queue.js';
import { replicas } from './replicas.js';
import { talk } from './talk.js';
import { dropAll, sendAll, unsentCount, writeAs } from './unsent.js';
import { learn } from './words.js';

const root = document.getElementById('app');

/** Every view: its place, its word, the scope it needs. */
const views = [
  { at: '', label: 'Hub', glyph: 'home', scope: 'mesh:read', open: home },
  { at: 'messages', label: 'Messages', glyph: 'talk', scope: 'messages:read', open: talk },
  { at: 'peers', label: 'Peers', glyph: 'peers', scope: 'peers:read', open: peers },
  { at: 'queue', label: 'Queue', glyph: 'queue', scope: 'messages:read', open: queue },
  { at: 'network', label: 'Network', glyph: 'network', scope: 'mesh:read', open: network },
  { at: 'replicas', label: 'Replicas', glyph: 'replicas', scope: 'mesh:read', open: replicas },
  { at: 'access', label: 'Access', glyph: 'access', scope: 'admin', open: access },
];
/** What everybody may see, behind their name. */
const own = { at: 'log-ins', label: 'Log-ins', open: logIns };

async function start() {
  try {
    const { client } = await get('/v1/session');
    enter(client);
  } catch (error) {
    if (error.status === 401) {
      logIn();
    } else {
      root.replaceChildren(
        h(
          'div',
          { class: 'gate' },
          h('h1', {}, 'The hub cannot be reached'),
          h('p', {}, error.message),
          button('Try again', start, { kind: 'main' }),
        ),
      );
    }
  }
}

function logIn(notice) {
  document.title = 'Log in · kOS gateway';
  const token = h('input', {
    id: 'token',
    type: 'password',
    name: 'password',
    required: true,
    autocomplete: 'current-password',
    spellcheck: 'false',
    autocapitalize: 'none',
    'aria-describedby': 'token-help',
  });
  const wrong = h('p', { class: 'wrong', role: 'alert' }, notice);
  const enterButton = h('button', { class: 'button main wide', type: 'submit' }, 'Log in');
  const submit = async event => {
    event.preventDefault();
    enterButton.disabled = true;
    wrong.textContent = '';
    try {
      const { client } = await call('POST', '/v1/session', { token: token.value });
      token.value = '';
      enter(client);
    } catch (error) {
      wrong.textContent =
        error.status === 401 ? 'This token is not known to the hub, or it has expired.' : error.message;
      token.select();
    } finally {
      enterButton.disabled = false;
    }
  };
  root.replaceChildren(
    h(
      'main',
      { class: 'gate' },
      h('img', { src: '/page/icon.svg', alt: '', width: '56', height: '56' }),
      h('h1', {}, 'kOS gateway'),
      h(
        'form',
        { submit },
        h('input', {
          class: 'visually-hidden',
          name: 'username',
          autocomplete: 'username',
          value: 'owner',
          tabindex: '-1',
          'aria-hidden': 'true',
        }),
        h('label', { for: 'token' }, 'Owner token'),
        token,
        wrong,
        enterButton,
      ),
      h(
        'p',
        { class: 'quiet', id: 'token-help' },
        'It was shown when the hub started first. If nobody has read it yet, ',
        h('code', {}, 'npx kosctl token owner'),
        ' prints it on the hub itself. It stays in this browser as a log-in only.',
      ),
      h('p', { class: 'quiet' }, h('a', { href: '/docs' }, 'API reference')),
    ),
  );
  token.focus();
}

function enter(client) {
  const listeners = new Set();
  let live = { at: 'starting' };
  let view;
  let stop = () => {};

  const may = scope => client.scopes.includes('admin') || client.scopes.includes(scope);
  const shown = views.filter(({ scope }) => may(scope));
  const badges = new Map();
  const link = ({ at, label, glyph }) => {
    const badge = h('span', { class: 'badge' });
    badges.set(at, badge);
    return h('a', { href: `#/${at}`, 'data-at': at }, icon(glyph), h('span', {}, label), badge);
  };
  const hubName = h('bdi', { class: 'hub-name' }, 'kOS gateway');
  const lamp = h('p', { class: 'lamp', role: 'status' });
  const banner = h('div', { class: 'banner', hidden: true });
  const main = h('main', { id: 'main', tabindex: '-1' });
  const myself = h(
    'a',
    { class: 'myself', href: `#/${own.at}`, 'data-at': own.at, title: 'Browsers that are logged in' },
    client.name,
  );
  const nav = h('nav', { 'aria-label': 'Pages' }, shown.map(link));

  const leave = notice => {
    stop();
    writeAs(undefined);
    view?.close?.();
    window.removeEventListener('hashchange', turn);
    clearInterval(timer);
    refresh.stop();
    logIn(notice);
  };
  let isSure = false;
  const logOut = async () => {
    const left = unsentCount();
    if (left > 0 && !isSure) {
      isSure = true;
      toast(
        `${count(left, 'message')} written here did not reach the hub. Log out again to forget them.`,
        'bad',
      );
      return;
    }
    dropAll();
    localStorage.clear();
    await call('DELETE', '/v1/session').catch(complain);
    leave();
  };

  const me = `app:${client.name}`;
  writeAs(me);
  const app = {
    client,
    me,
    may,
    hub: undefined,
    /** Hears of every event until `close` of the view that asked. */
    on(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    badge(at, text) {
      const badge = badges.get(at);
      if (badge !== undefined) {
        badge.textContent = text || '';
      }
    },
    get live() {
      return live.at === 'live';
    },
    go(at) {
      location.hash = `#/${at}`;
    },
    /** Reads something for a view; what goes wrong is said in its place. */
    async show(where, load) {
      try {
        await load();
        where.querySelector(':scope > .trouble')?.remove();
      } catch (error) {
        if (error.status === 401) {
          leave('The log-in has ended. Log in again to go on.');
          return;
        }
        where.querySelector(':scope > .trouble')?.remove();
        where.prepend(
          h('p', { class: 'trouble', role: 'alert' }, error.message, error.code && h('code', {}, error.code)),
        );
      }
    },
    async status() {
      const status = await get('/v1/status');
      hubName.textContent = status.hub.name;
      app.hub = status.hub;
      app.badge('queue', status.queued > 0 ? (status.queued > 99 ? '99+' : status.queued) : '');
      app.badge('', status.failures.length > 0 ? '!' : '');
      for (const { addresses, name } of status.residents ?? []) {
        for (const address of addresses) {
          learn(address, name);
        }
      }
      learn(`lxmf:${status.hub.lxmf}`, status.hub.name);
      return status;
    },
  };

  function lit(state, at) {
    live = { at: state };
    const words = {
      live: 'Live',
      starting: 'Connecting',
      waiting: 'Not connected',
      none: 'Not live',
      paused: 'Paused',
      missed: 'Connecting',
    };
    lamp.className = `lamp ${state}`;
    lamp.textContent = words[state];
    banner.hidden = state !== 'waiting';
    if (state === 'waiting') {
      banner.replaceChildren(
        'The hub does not answer. What you see is as it was; it is tried again ',
        when(at),
        '.',
      );
    }
  }

  function tell(event) {
    if (event.peer) {
      learn(event.peer.address, event.peer.name);
    }
    if (/^(?:health|interface|delivery|message)\./.test(event.kind)) {
      refresh();
    }
    for (const listener of listeners) {
      listener(event);
    }
  }

  // Health and the number of what waits follow the events, at most once a second.
  const refresh = pace(1000, () => may('mesh:read') && app.status().catch(() => {}));

  function turn() {
    const [, at = '', ...rest] = location.hash.split('/').map(decodeURIComponent);
    const next = at === own.at ? own : (shown.find(one => one.at === at) ?? shown[0]);
    const below = rest.join('/');
    for (const one of [...nav.querySelectorAll('a'), myself]) {
      if (one.dataset.at === next?.at) {
        one.setAttribute('aria-current', 'page');
      } else {
        one.removeAttribute('aria-current');
      }
    }
    if (view?.at === next?.at && view?.turn !== undefined) {
      view.turn(below);
      return;
    }
    view?.close?.();
    listeners.clear();
    if (next === undefined) {
      main.replaceChildren(
        h('h1', {}, 'Nothing to see'),
        h('p', {}, 'This token may not read anything that is shown here.'),
      );
      return;
    }
    main.className = next.at || 'home';
    document.title = `${next.label} · ${app.hub?.name ?? 'kOS gateway'}`;
    main.replaceChildren();
    view = { at: next.at, ...next.open(app, main, below) };
    main.scrollTop = 0;
    window.scrollTo(0, 0);
    if (moved) {
      main.focus({ preventScroll: true });
    }
    moved = true;
  }
  let moved = false;

  root.replaceChildren(
    h('button', { type: 'button', class: 'skip', click: () => main.focus() }, 'Skip to content'),
    h(
      'header',
      { class: 'bar' },
      h(
        'div',
        { class: 'brand' },
        h('img', { src: '/page/icon.svg', alt: '', width: '32', height: '32' }),
        h('div', {}, hubName, lamp),
      ),
      nav,
      h('div', { class: 'me' }, myself, button('Log out', logOut, { kind: 'plain', glyph: 'out' })),
    ),
    h('div', { class: 'body' }, banner, main),
  );
  window.addEventListener('hashchange', turn);
  const timer = setInterval(refreshTimes, 10_000);
  lit('starting');
  const first = may('peers:read')
    ? get('/v1/peers?order=seen&limit=200').then(({ items }) => {
        for (const one of items) {
          learn(one.address, one.name);
        }
      })
    : Promise.resolve();
  const status = may('mesh:read') ? app.status() : Promise.resolve();
  void Promise.allSettled([first, status]).then(turn);
  stop = follow({
    event: tell,
    state(state, at) {
      if (state === 'out') {
        leave('The log-in has ended. Log in again to go on.');
        return;
      }
      const isBack = state === 'live' && live.at !== 'live';
      lit(state, at);
      if (isBack || state === 'missed') {
        refresh();
        sendAll(app.me);
        view?.back?.(state === 'missed');
      }
    },
  });
}

void start();
