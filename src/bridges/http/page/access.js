import { call, get } from './api.js';
import { button, complain, copyable, empty, h, keyed, sureButton, when } from './dom.js';

const scopes = {
  'messages:read': 'read its own messages and rooms',
  'messages:send': 'send messages',
  'peers:read': 'see who was heard',
  'mesh:read': 'see health and network',
  mqtt: 'connect to the MQTT broker',
  metrics: 'read /metrics',
  'rooms:write': 'change rooms',
  admin: 'everything, all messages included',
};
const day = 86_400_000;

/** Tokens of apps: minted, listed, revoked. */
export function access(app, main) {
  const list = h('ul', { class: 'rows' });
  const gone = h('ul', { class: 'rows' });
  const goneBox = h(
    'details',
    { class: 'gone', hidden: true },
    h('summary', {}, 'Revoked and expired'),
    gone,
  );
  const made = h('div', { role: 'status' });
  const wrong = h('p', { class: 'wrong', role: 'alert' });
  const field = (id, label, input, help) =>
    h(
      'div',
      { class: 'field' },
      h('label', { for: id }, label),
      input,
      help && h('p', { class: 'quiet small', id: `${id}-help` }, help),
    );
  const nameInput = h('input', {
    id: 'name',
    required: true,
    pattern: '[a-z0-9\\-]{1,32}',
    maxlength: '32',
    autocomplete: 'off',
    autocapitalize: 'none',
    spellcheck: 'false',
    'aria-describedby': 'name-help',
  });
  const roomsInput = h('input', {
    id: 'rooms',
    value: 'hub',
    autocomplete: 'off',
    autocapitalize: 'none',
    'aria-describedby': 'rooms-help',
  });
  const lifeInput = h(
    'select',
    { id: 'life' },
    [
      ['Never', ''],
      ['In a day', day],
      ['In 30 days', 30 * day],
      ['In a year', 365 * day],
    ].map(([text, value]) => h('option', { value }, text)),
  );
  const ownInput = h('input', { type: 'checkbox', id: 'own' });
  const boxes = Object.entries(scopes).map(([scope, does]) => {
    const box = h('input', { type: 'checkbox', name: 'scope', value: scope });
    box.checked = scope === 'messages:read' || scope === 'messages:send';
    return h('label', { class: 'check' }, box, h('span', {}, h('code', {}, scope), ` ${does}`));
  });
  const form = h(
    'form',
    {
      class: 'mint',
      submit: event => {
        event.preventDefault();
        void mint();
      },
    },
    field(
      'name',
      'Name',
      nameInput,
      'Lower-case letters, digits and hyphens. Its address becomes app:name; a name is never given twice.',
    ),
    h('fieldset', {}, h('legend', {}, 'It may'), boxes),
    field(
      'rooms',
      'Rooms',
      roomsInput,
      'Whose messages it gets beside its own. hub is what comes for nobody in particular; empty for none.',
    ),
    field('life', 'Expires', lifeInput),
    h(
      'label',
      { class: 'check' },
      ownInput,
      h('span', {}, 'An LXMF address of its own, announced by its name'),
    ),
    wrong,
    h('button', { class: 'button main', type: 'submit' }, 'Make the token'),
  );
  main.append(
    h('h1', {}, 'Access'),
    h('section', { class: 'card' }, h('h2', {}, 'Tokens'), list, goneBox),
    h('section', { class: 'card' }, h('h2', {}, 'A token for an app or a device'), form, made),
  );

  async function mint() {
    wrong.textContent = '';
    const draft = {
      name: nameInput.value.trim(),
      scopes: [...form.querySelectorAll('[name=scope]:checked')].map(box => box.value),
      rooms: roomsInput.value.split(/[\s,]+/).filter(Boolean),
      ...(ownInput.checked && { identity: 'own' }),
      ...(lifeInput.value && { expiresAt: Date.now() + Number(lifeInput.value) }),
    };
    try {
      const { token, name, addresses = [] } = await call('POST', '/v1/tokens', draft);
      made.replaceChildren(
        h(
          'div',
          { class: 'made' },
          h('p', {}, h('strong', {}, `The token of ${name}. `), 'It is shown this once: copy it now.'),
          copyable(token, 'token'),
          addresses.map(address => h('p', {}, 'Address: ', copyable(address, 'address'))),
          button('I have it', () => made.replaceChildren(), { kind: 'small' }),
        ),
      );
      nameInput.value = '';
      await again();
    } catch (error) {
      wrong.textContent =
        error.errors?.length > 0
          ? error.errors.map(one => `${one.pointer.slice(1)}: ${one.detail}`).join('; ')
          : error.message;
    }
  }
  const row = one => {
    const isOver = one.revokedAt !== undefined || one.expiresAt <= Date.now();
    const revoke = () => call('DELETE', `/v1/tokens/${one.name}`).then(again, complain);
    return h(
      'li',
      { class: 'row top' },
      h(
        'div',
        { class: 'grow' },
        h('p', { class: 'strong' }, `app:${one.name}`),
        h(
          'p',
          { class: 'scopes' },
          (one.scopes.includes('admin') ? ['admin'] : one.scopes).map(scope => h('code', {}, scope)),
        ),
        (one.addresses ?? []).map(address => copyable(address, 'address')),
        h(
          'p',
          { class: 'quiet small' },
          'made ',
          when(one.createdAt),
          one.rooms.length > 0 && ` · rooms: ${one.rooms.join(', ')}`,
          one.revokedAt !== undefined
            ? [' · revoked ', when(one.revokedAt)]
            : one.expiresAt !== undefined && [' · expires ', when(one.expiresAt)],
        ),
      ),
      !isOver && one.name !== 'owner' && sureButton('Revoke', 'Really revoke', revoke),
    );
  };
  async function load() {
    const { items } = await get('/v1/tokens');
    const over = one => one.revokedAt !== undefined || one.expiresAt <= Date.now();
    keyed(
      list,
      items.filter(one => !over(one)),
      one => one.id,
      row,
    );
    keyed(gone, items.filter(over), one => one.id, row);
    goneBox.hidden = gone.children.length === 0;
    if (list.children.length === 0) {
      list.replaceChildren(h('li', {}, empty('No token')));
    }
  }
  const again = () => app.show(main, load);
  void again();
  return { back: again };
}
