import { ask, type Call, type Command, print, printable, usage } from './call.ts';

interface Attempt {
  readonly at: number;
  readonly type: string;
  readonly state: string;
  readonly duration: number;
  readonly status?: number;
  readonly code?: string;
  readonly reason?: string;
}

interface Webhook {
  readonly id: string;
  readonly client: string;
  readonly url: string;
  readonly description?: string;
  readonly state: string;
  readonly reason?: string;
  readonly pending: number;
  readonly pendingSince?: number;
  readonly nextAt?: number;
  readonly lastSuccessAt?: number;
  readonly attempts: readonly Attempt[];
  readonly secret?: string;
}

/** The webhooks of all clients; those that are made here belong to the owner. */
export const webhookCommands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['webhook list', { words: '', does: 'endpoints that are told of events, and how they do', run: list }],
  ['webhook show', { words: 'ID', does: 'one of them with its latest attempts', run: show }],
  [
    'webhook create',
    {
      words: 'URL [--events message.accepted,…] [--types a,b] [--rooms a,b] [--peers ADDRESS,…]',
      does: 'have an endpoint told of events; prints its id and its secret, shown this once',
      run: create,
    },
  ],
  ['webhook test', { words: 'ID', does: 'send a webhook.test event now', run: test }],
  [
    'webhook replay',
    {
      words: 'ID --after CURSOR | --since ISO-DATE',
      does: 'send again from an event or a time on, or pass over what lies before',
      run: replay,
    },
  ],
  [
    'webhook enable',
    { words: 'ID', does: 'take it up again, also where the hub disabled it', run: c => enable(c, true) },
  ],
  [
    'webhook disable',
    { words: 'ID', does: 'tell it nothing until it is enabled', run: c => enable(c, false) },
  ],
  [
    'webhook rotate',
    {
      words: 'ID',
      does: 'another secret, shown this once; the one before is used beside it for a day',
      run: rotate,
    },
  ],
  ['webhook delete', { words: 'ID', does: 'tell it nothing any more', run: remove }],
]);

async function list(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/webhooks');
  const { items } = body as { items: Webhook[] };
  return print(c, items, items.map(line).join('\n') || 'no endpoint is told of anything');
}

async function show(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', pathOf(c));
  const webhook = body as Webhook;
  return print(
    c,
    webhook,
    [line(webhook), ...webhook.attempts.map(one => `  ${attemptLine(one)}`)].join('\n'),
  );
}

async function create(c: Call): Promise<number> {
  const [url] = c.words;
  if (url === undefined) {
    usage('webhook create URL');
  }
  const lists = ['events', 'types', 'rooms', 'peers'].flatMap(name => {
    const text = c.options[name];
    return typeof text === 'string' ? [[name, text.split(',').filter(part => part !== '')]] : [];
  });
  const { body } = await ask(c, 'POST', '/v1/webhooks', { url, ...Object.fromEntries(lists) });
  const { id, secret } = body as Webhook;
  return print(c, body, `${id}\n${secret}`);
}

async function test(c: Call): Promise<number> {
  const { body } = await ask(c, 'POST', `${pathOf(c)}/test`);
  const attempt = body as Attempt;
  await print(c, attempt, attemptLine(attempt));
  return attempt.state === 'failed' ? 1 : 0;
}

async function replay(c: Call): Promise<number> {
  const { after, since } = c.options;
  const time = typeof since === 'string' ? Date.parse(since) : Number.NaN;
  if (typeof after !== 'string' && Number.isNaN(time)) {
    usage('webhook replay ID --after CURSOR | --since 2027-01-31T00:00:00Z');
  }
  const from = typeof after === 'string' ? { after } : { since: time };
  const { body } = await ask(c, 'POST', `${pathOf(c)}/replay`, from);
  return print(c, body, line(body as Webhook));
}

async function enable(c: Call, enabled: boolean): Promise<number> {
  const { body } = await ask(c, 'PATCH', pathOf(c), { enabled });
  return print(c, body, line(body as Webhook));
}

async function rotate(c: Call): Promise<number> {
  const { body } = await ask(c, 'POST', `${pathOf(c)}/rotate-secret`, {});
  return print(c, body, (body as Webhook).secret ?? '');
}

async function remove(c: Call): Promise<number> {
  await ask(c, 'DELETE', pathOf(c));
  return print(c, { deleted: c.words[0] }, `deleted ${c.words[0]}`);
}

function pathOf(c: Call): string {
  const [id] = c.words;
  if (id === undefined) {
    usage('webhook … ID');
  }
  return `/v1/webhooks/${encodeURIComponent(id)}`;
}

function line(one: Webhook): string {
  const why = one.reason === undefined ? '' : ` (${printable(one.reason)})`;
  const next = one.nextAt === undefined ? '' : `, next ${iso(one.nextAt)}`;
  const waits =
    one.pendingSince === undefined ? '' : `, ${one.pending} events behind since ${iso(one.pendingSince)}`;
  const last = one.lastSuccessAt === undefined ? 'never told yet' : `last told ${iso(one.lastSuccessAt)}`;
  const name = one.description === undefined ? '' : `  ${printable(one.description)}`;
  return `${one.id}  ${one.client}  ${printable(one.url)}  ${one.state}${why}${next}${waits}  ${last}${name}`;
}

function attemptLine({ at, type, state, duration, status, code, reason }: Attempt): string {
  const answer = status === undefined ? (code ?? '') : String(status);
  const why = reason === undefined ? '' : `: ${printable(reason)}`;
  return `${iso(at)}  ${type}  ${state}  ${answer}  ${duration} ms${why}`;
}

function iso(at: number): string {
  return new Date(at).toISOString();
}
