import { parse } from 'yaml';
import type { ConfiguredView } from '../bridges/http/interfaces.ts';
import type { Reloaded } from '../bridges/http/settings.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';

/** Changes the interfaces and the settings of a running gateway. */
export const interfaceCommands: readonly (readonly [string, Command])[] = [
  ['interface show', { words: 'NAME', does: 'one interface and its configuration', run: show }],
  [
    'interface add',
    {
      words: 'NAME KIND KEY=VALUE…',
      does: 'add an interface, such as: uplink tcp-client host=hub.example port=4242',
      run: add,
    },
  ],
  [
    'interface set',
    {
      words: 'NAME KEY=VALUE…',
      does: 'change keys of an interface, such as: mode=gateway announce.cap=5; KEY= takes one away',
      run: set,
    },
  ],
  ['interface remove', { words: 'NAME', does: 'take an interface away', run: remove }],
  ['interface attach', { words: 'NAME', does: 'use an interface again', run: c => doing(c, 'attach') }],
  [
    'interface detach',
    { words: 'NAME', does: 'stop using an interface until the next start', run: c => doing(c, 'detach') },
  ],
  [
    'interface reload',
    { words: 'NAME', does: 'close an interface and open it again', run: c => doing(c, 'reload') },
  ],
  ['interface reset', { words: 'NAME', does: 'forget what was changed beside the config file', run: reset }],
  ['config reload', { words: '', does: 'read the config file again, without a restart', run: reload }],
  ['log', { words: '[LEVEL]', does: 'the level of the log, or another one until the next start', run: log }],
];

async function show(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', pathOf(c, 'show'));
  return print(c, body);
}

async function add(c: Call): Promise<number> {
  const [name, kind, ...pairs] = c.words;
  if (name === undefined || kind === undefined) {
    usage('interface add NAME KIND KEY=VALUE…');
  }
  const entry = { name, kind, ...keysOf(pairs, 'interface add NAME KIND KEY=VALUE…') };
  return tell(c, (await ask(c, 'POST', '/v1/mesh/interfaces', entry)).body as ConfiguredView);
}

async function set(c: Call): Promise<number> {
  const pairs = c.words.slice(1);
  if (pairs.length === 0) {
    usage('interface set NAME KEY=VALUE…');
  }
  const patch = keysOf(pairs, 'interface set NAME KEY=VALUE…');
  return tell(c, (await ask(c, 'PATCH', pathOf(c, 'set'), patch)).body as ConfiguredView);
}

async function remove(c: Call): Promise<number> {
  await ask(c, 'DELETE', pathOf(c, 'remove'));
  return print(c, { removed: c.words[0] }, `${c.words[0]} is removed`);
}

async function doing(c: Call, verb: 'attach' | 'detach' | 'reload'): Promise<number> {
  return tell(c, (await ask(c, 'POST', `${pathOf(c, verb)}/${verb}`)).body as ConfiguredView);
}

async function reset(c: Call): Promise<number> {
  await ask(c, 'POST', `${pathOf(c, 'reset')}/reset`);
  return print(c, { reset: c.words[0] }, `${c.words[0]} is as in the config file`);
}

async function reload(c: Call): Promise<number> {
  const { body } = await ask(c, 'POST', '/v1/config/reload');
  const { applied, restart, interfaces } = body as Reloaded;
  const lines = [
    applied.length === 0 ? 'nothing has changed' : `in force now: ${applied.join(', ')}`,
    ...(interfaces.restarted.length === 0 ? [] : [`opened anew: ${interfaces.restarted.join(', ')}`]),
    ...(restart.length === 0 ? [] : [`needs a restart: ${restart.join(', ')}`]),
  ];
  return print(c, body, lines.join('\n'));
}

async function log(c: Call): Promise<number> {
  const [level] = c.words;
  const { body } = await (level === undefined
    ? ask(c, 'GET', '/v1/log')
    : ask(c, 'PUT', '/v1/log', { level }));
  return print(c, body, (body as { level: string }).level);
}

function pathOf(c: Call, verb: string): string {
  const [name] = c.words;
  if (name === undefined) {
    usage(`interface ${verb} NAME`);
  }
  return `/v1/mesh/interfaces/${encodeURIComponent(name)}`;
}

function tell(c: Call, view: ConfiguredView): Promise<number> {
  const { name, kind, state, reason } = view.interface;
  return print(c, view, `${name}  ${kind}  ${state}${reason === undefined ? '' : `: ${printable(reason)}`}`);
}

/** `a.b=1 c=x` as `{a: {b: 1}, c: 'x'}`: values as YAML has them, nothing is null. */
export function keysOf(pairs: readonly string[], wrong: string): Record<string, unknown> {
  const keys: Record<string, unknown> = Object.create(null);
  for (const pair of pairs) {
    const [, path, text] = /^([A-Za-z]+(?:\.[A-Za-z]+)*)=(.*)$/s.exec(pair) ?? usage(wrong);
    const parts = (path as string).split('.');
    let at = keys;
    for (const part of parts.slice(0, -1)) {
      at[part] ??= Object.create(null);
      at = at[part] as Record<string, unknown>;
    }
    at[parts.at(-1) as string] = readValue(text as string);
  }
  return keys;
}

function readValue(text: string): unknown {
  try {
    return text === '' ? null : parse(text, { maxAliasCount: 0 });
  } catch {
    return text;
  }
}
