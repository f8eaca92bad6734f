import { configJsonSchema } from '../config.ts';
import { definitionJsonSchema } from '../gateway/replicas/definition.ts';
import { definitionsOf } from '../start/replicas.ts';
import { auditCommands } from './audit.ts';
import { backupCommands } from './backup.ts';
import { ask, type Call, type Command, configOf, print, printable, usage } from './call.ts';
import { drawPacket } from './decode.ts';
import { interfaceCommands } from './interfaces.ts';
import { managementCommands } from './management.ts';
import { checkMatrix, writeRegistration } from './matrix.ts';
import { meshCommands } from './mesh.ts';
import { peerCommands } from './peers.ts';
import {
  checkReplica,
  forceReplica,
  listReplicas,
  queueOfReplica,
  resolveWrite,
  retryWrite,
} from './replica.ts';
import { roomCommands } from './rooms.ts';
import { routeCommands } from './routes.ts';
import { sessionCommands } from './sessions.ts';
import { tokenCommands } from './tokens.ts';
import { webhookCommands } from './webhook.ts';

interface Message {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly text: string;
  readonly title?: string;
  readonly type: string;
  readonly acceptedAt: number;
  readonly assurance: string;
  readonly author?: { readonly name: string };
  readonly attachments: readonly { readonly name: string; readonly size: number }[];
}

/** Every command by its name. */
export const commands: ReadonlyMap<string, Command> = new Map<string, Command>([
  ['status', { words: '', does: 'how the gateway and its parts are', run: status }],
  ['peers', { words: '', does: 'who was heard on the mesh', run: peers }],
  ...meshCommands,
  ...interfaceCommands,
  ...managementCommands,
  ...roomCommands,
  ...routeCommands,
  ...peerCommands,
  ['send', { words: 'TO TEXT', does: 'send a message; prints its id once it is on disk', run: send }],
  ['inbox', { words: '[--follow] [--after CURSOR]', does: "read the owner's inbox", run: inbox }],
  ['announce', { words: '', does: "announce the hub's destinations now", run: announce }],
  ...tokenCommands,
  ...sessionCommands,
  ...auditCommands,
  ['config check', { words: '[FILE]', does: 'every mistake in the configuration', run: checkConfig }],
  [
    'config schema',
    { words: '', does: 'JSON Schema of the configuration', run: async c => print(c, configJsonSchema()) },
  ],
  [
    'config show',
    {
      words: '',
      does: 'the configuration with its defaults and what the API changed of the interfaces',
      run: showConfig,
    },
  ],
  [
    'import rns',
    {
      words: 'DIR [--lxmf DIR] [--config FILE] [--data DIR] [--force]',
      does: 'take over the config and identity of a Reticulum node, such as ~/.reticulum',
      run: importReticulum,
    },
  ],
  [
    'matrix registration',
    {
      words: '[--force]',
      does: 'write the file by which a homeserver knows this gateway',
      run: makeMatrixRegistration,
    },
  ],
  [
    'replica check',
    { words: 'FILE', does: 'every mistake in a replica definition, or what it means', run: checkReplica },
  ],
  [
    'replica schema',
    {
      words: '',
      does: 'JSON Schema of a replica definition',
      run: async c => print(c, definitionJsonSchema()),
    },
  ],
  [
    'replica list',
    { words: '', does: 'replicas, whether they are reachable, what is kept and waits', run: listReplicas },
  ],
  ['replica queue', { words: 'ID', does: 'writes of a replica that wait, and why', run: queueOfReplica }],
  ['replica retry', { words: 'ID OPERATION', does: 'try a waiting write now', run: retryWrite }],
  [
    'replica resolve',
    {
      words: 'ID OPERATION mine|theirs|discard|sent|not-sent',
      does: 'decide a conflict, or what became of a write',
      run: resolveWrite,
    },
  ],
  [
    'replica offline',
    { words: 'ID', does: 'send nothing to a service any more', run: c => forceReplica(c, true) },
  ],
  ['replica online', { words: 'ID', does: 'let it be used again', run: c => forceReplica(c, false) }],
  ...webhookCommands,
  ...backupCommands,
  ['decode', { words: 'HEX', does: 'draw a Reticulum packet field by field', run: decode }],
]);

async function status(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/status');
  const facts = body as {
    hub: { id: string; name: string; lxmf: string; version: string; transport: string };
    ready: boolean;
    services: { name: string; state: string; reason?: string }[];
    queued: number;
    residents?: { party: string; name: string; addresses: string[] }[];
    counters: Record<string, number>;
  };
  const lines = [
    `${facts.hub.name}  ${facts.hub.id}  version ${facts.hub.version}  ${facts.ready ? 'ready' : 'not ready'}`,
    `lxmf:${facts.hub.lxmf}`,
    `transport: ${facts.hub.transport}`,
    ...facts.services.map(
      s => `  ${s.name.padEnd(24)} ${s.state}${s.reason === undefined ? '' : `: ${s.reason}`}`,
    ),
    ...(facts.residents ?? []).map(
      r => `  ${r.addresses.join(' ').padEnd(37)}  ${r.party}  ${printable(r.name)}`,
    ),
    `waiting deliveries: ${facts.queued}`,
    ...Object.entries(facts.counters).map(([name, count]) => `  ${name.padEnd(32)} ${count}`),
  ];
  await print(c, body, lines.join('\n'));
  return facts.ready ? 0 : 1;
}

async function peers(c: Call): Promise<number> {
  const items: { address: string; name?: string; lastSeen?: number; hops?: number }[] = [];
  let after = '';
  for (;;) {
    const { body } = await ask(
      c,
      'GET',
      `/v1/peers?limit=200${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`,
    );
    const page = body as { items: typeof items; cursor: string | null };
    items.push(...page.items);
    if (page.cursor === null) {
      break;
    }
    after = page.cursor;
  }
  const lines = items.map(
    peer =>
      `${peer.address}  ${peer.lastSeen === undefined ? 'never heard' : new Date(peer.lastSeen).toISOString()}  ${peer.hops ?? '?'} hop(s)  ${printable(peer.name ?? '')}`,
  );
  return print(c, items, lines.join('\n') || 'nobody yet');
}

async function send(c: Call): Promise<number> {
  const [to, ...text] = c.words;
  if (to === undefined || text.length === 0) {
    usage('send TO TEXT');
  }
  const { body } = await ask(c, 'POST', '/v1/messages', { to, text: text.join(' ') });
  return print(c, body, (body as Message).id);
}

async function inbox(c: Call): Promise<number> {
  let after = typeof c.options.after === 'string' ? c.options.after : undefined;
  for (;;) {
    const wait = c.options.follow === true ? 30 : 0;
    const query = new URLSearchParams({ wait: String(wait), ...(after === undefined ? {} : { after }) });
    const { body } = await ask(c, 'GET', `/v1/inbox?${query}`);
    const page = body as { items: { message: Message }[]; cursor: string };
    for (const { message } of page.items) {
      await c.out(c.json ? JSON.stringify(message) : line(message));
    }
    after = page.cursor;
    if (c.options.follow !== true && page.items.length === 0) {
      return 0;
    }
  }
}

function line(message: Message): string {
  const title = message.title === undefined || message.title === '' ? '' : `[${message.title}] `;
  const files = message.attachments.map(file => ` (${file.name}, ${file.size} bytes)`).join('');
  const doubt = message.assurance === 'unverified' ? '  (not verified: anybody may have written this)' : '';
  const author = message.author === undefined ? '' : `  (says it is from ${printable(message.author.name)})`;
  const head = `${new Date(message.acceptedAt).toISOString()}  ${printable(message.from)}${doubt}${author}  `;
  return `${head}${printable(`${title}${message.text}${files}`)}`;
}

async function announce(c: Call): Promise<number> {
  const { body } = await ask(c, 'POST', '/v1/mesh/announce');
  return print(c, body, 'announced');
}

async function checkConfig(c: Call): Promise<number> {
  const file = c.words[0] ?? c.config;
  const config = configOf(c, file);
  definitionsOf(config);
  const warnings = checkMatrix(config);
  const lines = warnings.map(({ pointer, detail }) => `  registration, ${pointer}: ${detail}`);
  return print(
    c,
    { file: file ?? null, ok: true, warnings },
    [file === undefined ? 'no file: the defaults are good' : `${file}: good`, ...lines].join('\n'),
  );
}

async function makeMatrixRegistration(c: Call): Promise<number> {
  const made = writeRegistration(configOf(c), c.options.force === true);
  const lines = [
    `${made.file} is written. Now the homeserver must read it, too. For Synapse, in homeserver.yaml:`,
    '  app_service_config_files:',
    `    - ${made.file}`,
    `then restart Synapse (its user must be able to read the file) and the gateway. Synapse will call ${made.url}.`,
  ];
  return print(c, made, lines.join('\n'));
}

async function showConfig(c: Call): Promise<number> {
  const { given: _given, ...config } = configOf(c);
  return print(c, config);
}

/** Loaded when it is used: nobody imports twice. */
async function importReticulum(c: Call): Promise<number> {
  const [from] = c.words;
  if (from === undefined) {
    usage('import rns DIR');
  }
  const { importRns } = await import('./rns/import.ts');
  const { data, lxmf } = c.options;
  const done = await importRns({
    from,
    lxmf: typeof lxmf === 'string' ? lxmf : undefined,
    file: c.config ?? 'kos.yaml',
    data: typeof data === 'string' ? data : undefined,
    force: c.options.force === true,
  });
  const rows = (mark: string, list: readonly { what: string; why: string }[]) =>
    list.map(({ what, why }) => `  ${mark} ${printable(what)}: ${printable(why)}`);
  const lines = [
    `${done.file} is written, and ${done.data} beside it.`,
    'Taken:',
    ...rows('+', done.taken),
    ...(done.left.length === 0 ? [] : ['Not taken:', ...rows('-', done.left)]),
    'Stop the other node before the gateway starts: two with one identity are one too many.',
  ];
  return print(c, done, lines.join('\n'));
}

async function decode(c: Call): Promise<number> {
  const [hex] = c.words;
  if (hex === undefined) {
    usage('decode HEX');
  }
  const drawing = drawPacket(hex);
  return print(c, drawing.fields, drawing.text);
}
