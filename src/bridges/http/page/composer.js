import { call } from './api.js';
import { amount, complain, h, icon, name } from './dom.js';
import { nameOf, who } from './words.js';

const largestFile = 32 * 1024 * 1024;

/** Where a message is written; `send` gets the draft. Gives the element and the way to begin an answer. */
export function createComposer(address, send) {
  let answered;
  let files = [];
  const text = h('textarea', {
    id: 'text',
    rows: '1',
    maxlength: '200000',
    'aria-label': `Message to ${nameOf(address)}`,
    placeholder: 'Write a message',
    input: () => fit(),
  });
  const pick = h('input', {
    type: 'file',
    multiple: true,
    class: 'visually-hidden',
    tabindex: '-1',
    'aria-hidden': 'true',
    change: () => attach(pick.files),
  });
  const chosen = h('ul', { class: 'chosen' });
  const sendButton = h(
    'button',
    { type: 'submit', class: 'button main round', 'aria-label': 'Send' },
    icon('send'),
  );
  const fit = () => {
    text.style.height = 'auto';
    text.style.height = `${Math.min(text.scrollHeight, 180)}px`;
  };
  const drawFiles = () =>
    chosen.replaceChildren(
      ...files.map(file =>
        h(
          'li',
          {},
          `${file.name} · ${amount(file.size, 'B')} `,
          h(
            'button',
            {
              type: 'button',
              'aria-label': `Leave out ${file.name}`,
              click: () => {
                files = files.filter(other => other !== file);
                drawFiles();
              },
            },
            icon('close'),
          ),
        ),
      ),
    );
  const attach = list => {
    files = [
      ...files,
      ...[...list].filter(
        file => file.size <= largestFile || complain(new Error(`${file.name} is larger than 32 MiB`)),
      ),
    ].slice(0, 32);
    pick.value = '';
    drawFiles();
  };
  const submit = async event => {
    event.preventDefault();
    if ((text.value.trim() === '' && files.length === 0) || sendButton.disabled) {
      return;
    }
    sendButton.disabled = true;
    try {
      const words = text.value;
      const attachments = [];
      for (const file of files) {
        const mediaType = /^[\w.+-]+\/[\w.+-]+$/.test(file.type) ? file.type : 'application/octet-stream';
        const { sha256 } = await call('POST', '/v1/blobs', new Blob([file], { type: mediaType }));
        attachments.push({ name: file.name, mediaType, sha256 });
      }
      const draft = {
        to: address,
        text: words,
        ...(attachments.length > 0 && { attachments }),
        ...(answered && { inReplyTo: answered.id }),
      };
      // What was typed while files were on their way stays.
      text.value = text.value === words ? '' : text.value.replace(words, '');
      files = [];
      drawFiles();
      fit();
      answer();
      send(draft);
    } catch (error) {
      complain(error);
    } finally {
      sendButton.disabled = false;
    }
  };
  text.addEventListener('keydown', event => {
    const isTouch = matchMedia('(pointer: coarse)').matches;
    if (
      event.key === 'Enter' &&
      !event.shiftKey &&
      !event.isComposing &&
      (!isTouch || event.ctrlKey || event.metaKey)
    ) {
      void submit(event);
    } else if (event.key === 'Escape' && answered !== undefined) {
      answer();
    }
  });
  text.addEventListener(
    'paste',
    event => event.clipboardData.files.length > 0 && attach(event.clipboardData.files),
  );
  const said = h('span', { class: 'grow' });
  const stopAnswering = h(
    'button',
    { type: 'button', 'aria-label': 'Do not answer this message', click: () => answer() },
    icon('close'),
  );
  const bar = h('div', { class: 'answering', hidden: true }, said, stopAnswering);
  function answer(message) {
    answered = message;
    bar.hidden = message === undefined;
    const words = message && ['Answering ', who(message.from), ': ', name(message.text.slice(0, 80))];
    said.replaceChildren(...(words ?? []));
    text.focus();
  }
  const element = h(
    'form',
    { class: 'composer', submit },
    bar,
    chosen,
    h(
      'div',
      { class: 'line-in' },
      pick,
      h(
        'button',
        {
          type: 'button',
          class: 'button plain round',
          'aria-label': 'Attach files',
          click: () => pick.click(),
        },
        icon('clip'),
      ),
      text,
      sendButton,
    ),
  );
  return { element, answer };
}
