import { call, get } from './api.js';
import { button, complain, count, h, keyed, sureButton, toast, when } from './dom.js';

/** The browsers that are logged in with the same token, and their end. */
export function me(app, main) {
  const list = h('ul', { class: 'rows' });
  const others = h('div', {});
  main.append(
    h('h1', {}, 'Log-ins'),
    h(
      'section',
      { class: 'card' },
      h('div', { class: 'head' }, h('h2', {}, `Browsers logged in as ${app.client.name}`), others),
      list,
    ),
  );
  const end = path => call('DELETE', path).then(again, complain);
  const row = one =>
    h(
      'li',
      { class: 'row top' },
      h(
        'div',
        { class: 'grow' },
        h('p', { class: 'strong' }, one.current ? 'This browser' : kindOf(one.userAgent)),
        h('p', { class: 'quiet small agent' }, one.userAgent || 'It does not say what it is.'),
        h(
          'p',
          { class: 'quiet small' },
          'logged in ',
          when(one.createdAt),
          one.createdFrom && ` from ${one.createdFrom}`,
          ' · used ',
          when(one.lastUsedAt),
          one.lastUsedFrom && one.lastUsedFrom !== one.createdFrom && ` from ${one.lastUsedFrom}`,
          ' · ends ',
          when(one.expiresAt),
        ),
      ),
      !one.current && sureButton('End it', 'Really end it', () => end(`/v1/sessions/${one.id}`)),
    );
  async function load() {
    const { items } = await get('/v1/sessions');
    keyed(list, items, one => one.id, row);
    const rest = items.filter(one => !one.current).length;
    others.replaceChildren(
      ...(rest > 1
        ? [
            button(
              'End all others',
              async () => {
                try {
                  const { ended } = await call('DELETE', '/v1/sessions?keep=current');
                  toast(`${count(ended, 'browser')} logged out.`, 'ok');
                } catch (error) {
                  complain(error);
                }
                await again();
              },
              { kind: 'small' },
            ),
          ]
        : []),
    );
  }
  const again = () => app.show(main, load);
  void again();
  return { back: again };
}

/** What a browser seems to be, in a word or two. */
function kindOf(agent) {
  const browser = ['Firefox', 'Edg', 'OPR', 'Chrome', 'Safari'].find(word => agent.includes(`${word}/`));
  const system = ['Android', 'iPhone', 'iPad', 'Windows', 'Mac OS', 'Linux'].find(word =>
    agent.includes(word),
  );
  const names = { Edg: 'Edge', OPR: 'Opera' };
  return [names[browser] ?? browser ?? 'A browser', system && `on ${system}`].filter(Boolean).join(' ');
}
