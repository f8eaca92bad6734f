import { blob, call } from './api.js';
import { amount, button, complain, count, h, icon, name, sureButton, when } from './dom.js';
import { deliveryLine, nameOf, pill, who, wordOf } from './words.js';

/** Images that are shown: what browsers decode without running anything. */
const shown = /^image\/(?:png|jpeg|gif|webp|avif)$/;
const shownAtOnce = 2 * 1024 * 1024;

/**
 * Draws the messages of one conversation. `messageOf` gives one by id, `answer` begins an answer, `take` takes a
 * message as it is now, `retry` and `discard` are for what the hub has not taken; `urls` are revoked at the end.
 */
export function createBubbles({ app, messageOf, answer, take, retry, discard, urls }) {
  return { bubble, heldBubble };

  function bubble(one) {
    const mine = one.from === app.me;
    const told = one.deliveries.filter(delivery => delivery.to !== app.me || mine);
    return h(
      'article',
      { class: `message ${mine ? 'mine' : ''} ${one.follows ? 'follows' : ''}`, id: `m-${one.id}` },
      one.date && h('h3', { class: 'day' }, one.date),
      h(
        'div',
        { class: 'bubble' },
        !mine &&
          h(
            'p',
            { class: 'author' },
            who(one.from),
            one.assurance === 'unverified' &&
              h('span', { class: 'pill wait', title: 'Nobody vouches for who sent it.' }, 'unverified'),
          ),
        one.inReplyTo && quote(one.inReplyTo),
        one.title && h('p', { class: 'strong' }, name(one.title)),
        one.isGone
          ? h('p', { class: 'quiet' }, 'This message was deleted.')
          : (one.edit ?? one.text) !== '' && h('p', { class: 'text', dir: 'auto' }, one.edit ?? one.text),
        !one.isGone && one.data !== undefined && data(one),
        !one.isGone && one.attachments.map(attachment),
        one.marks.length > 0 &&
          h(
            'p',
            { class: 'marks' },
            one.marks.map(({ text, from }) => h('span', { title: nameOf(from) }, text.slice(0, 16))),
          ),
        h(
          'p',
          { class: 'foot' },
          one.edit !== undefined && h('span', {}, 'edited'),
          !/^chat\.message$/.test(one.type) && h('code', {}, one.type),
          when(one.acceptedAt, 'clock'),
          app.may('messages:send') &&
            h(
              'button',
              {
                type: 'button',
                class: 'answer',
                'aria-label': `Answer ${nameOf(one.from)}`,
                click: () => answer(one),
              },
              icon('answer'),
              'Answer',
            ),
        ),
      ),
      told.length > 0 && deliveries(one, told),
    );
  }

  /** What became of it: one line, or a sum with the lines below; the history on request. */
  function deliveries(one, told) {
    const waits = told.some(({ state }) => state === 'queued' || state === 'sending');
    const history = told.map(delivery =>
      h(
        'li',
        {},
        told.length > 1 && [who(delivery.to), ' ', deliveryLine(delivery)],
        h(
          'ol',
          {},
          delivery.history.map(step =>
            h(
              'li',
              {},
              h('span', {}, wordOf(step.state).text),
              ' ',
              when(step.at, 'clock'),
              step.reason && ` · ${step.reason}`,
            ),
          ),
        ),
      ),
    );
    const counts = Object.entries(Object.groupBy(told, ({ state }) => state));
    return h(
      'div',
      { class: 'fate' },
      h(
        'details',
        {},
        h(
          'summary',
          {},
          told.length === 1
            ? deliveryLine(told[0])
            : h(
                'span',
                { class: 'line' },
                counts.map(([state, some]) => h('span', { class: 'line' }, String(some.length), pill(state))),
              ),
        ),
        h('ul', { class: 'history' }, history),
      ),
      waits &&
        (one.from === app.me || app.may('admin')) &&
        app.may('messages:send') &&
        sureButton('Cancel', 'Really cancel', () =>
          call('DELETE', `/v1/messages/${one.id}`).then(take, complain),
        ),
    );
  }

  function quote(id) {
    const target = messageOf(id);
    return h(
      'button',
      {
        type: 'button',
        class: 'quote',
        click: () => {
          const node = document.getElementById(`m-${id}`);
          node?.scrollIntoView({ block: 'center' });
          node?.classList.add('found');
          setTimeout(() => node?.classList.remove('found'), 1500);
        },
      },
      target
        ? [
            h('span', { class: 'strong' }, who(target.from)),
            h('span', {}, name(target.text.slice(0, 120) || target.type)),
          ]
        : 'an earlier message',
    );
  }

  function data({ type, data: value }) {
    const values = type === 'sensor.reading' ? value?.values : undefined;
    if (values && typeof values === 'object') {
      return h(
        'dl',
        { class: 'reading' },
        Object.entries(values)
          .slice(0, 50)
          .map(([key, amount]) =>
            h(
              'div',
              {},
              h('dt', {}, key),
              h('dd', {}, typeof amount === 'object' ? JSON.stringify(amount) : String(amount)),
            ),
          ),
      );
    }
    const text =
      typeof value === 'object' && value !== null && typeof value.base64 === 'string'
        ? `${value.mediaType}, ${amount(value.base64.length * 0.75, 'B')}`
        : JSON.stringify(value, null, 1);
    return h('details', {}, h('summary', {}, 'Data'), h('pre', { tabindex: '0' }, text.slice(0, 4000)));
  }

  function attachment({ name: file, mediaType, size, sha256 }) {
    const isShown = shown.test(mediaType);
    const box = h('div', { class: 'attachment' });
    const fetched = async type => {
      const url = URL.createObjectURL(await blob(sha256, type));
      urls.push(url);
      return url;
    };
    const showImage = async () => {
      try {
        const image = h('img', {
          src: await fetched(mediaType),
          alt: file,
        });
        image.addEventListener('error', () =>
          box.replaceChildren(saveButton(), h('span', { class: 'why' }, 'cannot be shown')),
        );
        box.replaceChildren(image);
      } catch (error) {
        box.replaceChildren(saveButton(), h('span', { class: 'why' }, error.message));
      }
    };
    // Saved as bytes: whatever it is, it does not open beside this page.
    const save = () =>
      fetched('application/octet-stream').then(
        url => h('a', { href: url, download: file }).click(),
        complain,
      );
    const saveButton = () =>
      button(`${file} · ${amount(size, 'B')}`, save, {
        kind: 'small',
        glyph: 'clip',
        'aria-label': `Save ${file}`,
      });
    if (isShown && size <= shownAtOnce) {
      box.append(h('span', { class: 'quiet' }, file));
      void showImage();
    } else {
      box.append(saveButton(), isShown ? button('Show', showImage, { kind: 'small' }) : '');
    }
    return box;
  }

  function heldBubble(one) {
    return h(
      'article',
      { class: 'message mine' },
      h(
        'div',
        { class: 'bubble held' },
        h('p', { class: 'text', dir: 'auto' }, one.draft.text),
        one.draft.attachments?.length > 0 &&
          h('p', { class: 'quiet' }, count(one.draft.attachments.length, 'attachment')),
      ),
      h(
        'div',
        { class: 'fate' },
        h(
          'span',
          { class: 'line' },
          h('span', { class: `pill ${one.why ? 'bad' : 'wait'}` }, one.why ? 'Not taken' : 'Only here'),
          h(
            'span',
            { class: 'why' },
            one.why ?? 'the hub has not confirmed it yet; it is kept in this browser',
          ),
        ),
        button('Try again', () => retry(one.key), { kind: 'small' }),
        button('Discard', () => discard(one.key), { kind: 'small' }),
      ),
    );
  }
}
