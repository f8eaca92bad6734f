import type { RouteTrial, RouteView } from '../gateway/society-contract.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';
import { keysOf } from './interfaces.ts';

const routeAdd = 'route add ID KEY=VALUE…';

/** Shows and changes the rules of a running gateway, and tries them. */
export const routeCommands: readonly (readonly [string, Command])[] = [
  ['route list', { words: '', does: 'rules in their order, and what came of them', run: listRoutes }],
  ['route show', { words: 'ID', does: 'one rule', run: showRoute }],
  [
    'route add',
    {
      words: 'ID KEY=VALUE…',
      does: "make a rule, such as: frost from=mqtt:dev/# 'to=[lxmf:0123…]' maxRate=1/10m",
      run: addRoute,
    },
  ],
  ['route on', { words: 'ID', does: 'use a rule', run: c => switchRoute(c, 'on') }],
  ['route off', { words: 'ID', does: 'use it no longer', run: c => switchRoute(c, 'off') }],
  ['route remove', { words: 'ID', does: 'take a rule away', run: removeRoute }],
  [
    'route test',
    {
      words: 'FROM TYPE [TEXT | JSON]',
      does: 'what the rules would do with a message; nothing is sent',
      run: testRoutes,
    },
  ],
];

async function listRoutes(c: Call): Promise<number> {
  const { items } = (await ask(c, 'GET', '/v1/routes')).body as { items: RouteView[] };
  return print(c, items, items.map(ruleLine).join('\n') || 'no rules');
}

function ruleLine(rule: RouteView): string {
  const { id, enabled, source, from, type, to, passed, leftOut } = rule;
  const counts = passed === undefined ? '' : `  passed ${passed}, left out ${leftOut}`;
  return `${id}  ${enabled ? 'on' : 'off'}  ${source}  ${printable(from)}${type === undefined ? '' : ` ${type}`} → ${to.join(' ')}${counts}`;
}

async function showRoute(c: Call): Promise<number> {
  return print(c, (await ask(c, 'GET', rulePath(c, 'show'))).body);
}

async function addRoute(c: Call): Promise<number> {
  const [id, ...pairs] = c.words;
  if (id === undefined || pairs.length === 0) {
    usage(routeAdd);
  }
  // The braces of a template are its own, and none of YAML's.
  const plain = pairs.map(pair =>
    pair.replace(
      /^(template\.t(?:ext|itle)=)(.*)$/s,
      (_, key: string, words: string) => key + JSON.stringify(words),
    ),
  );
  const { body } = await ask(c, 'POST', '/v1/routes', { id, ...keysOf(plain, routeAdd) });
  return print(c, body, ruleLine(body as RouteView));
}

async function switchRoute(c: Call, way: 'on' | 'off'): Promise<number> {
  const { body } = await ask(c, 'PATCH', rulePath(c, way), { enabled: way === 'on' });
  return print(c, body, ruleLine(body as RouteView));
}

async function removeRoute(c: Call): Promise<number> {
  await ask(c, 'DELETE', rulePath(c, 'remove'));
  return print(c, { removed: c.words[0] }, `${c.words[0]} is gone`);
}

async function testRoutes(c: Call): Promise<number> {
  const [from, type, ...rest] = c.words;
  if (from === undefined || type === undefined) {
    usage('route test FROM TYPE [TEXT | JSON]');
  }
  const words = rest.join(' ');
  const said = /^[{[]/.test(words) ? { data: jsonOf(words) } : { text: words };
  const { body } = await ask(c, 'POST', '/v1/route-test', { message: { from, type, ...said } });
  const { to, matches, recipients } = body as RouteTrial;
  const lines = recipients.map(
    one =>
      `  ${one.to}  ${one.route ?? 'a member'}${one.passes ? '' : ' (over its rate now)'}: ${printable([one.title, one.text].filter(Boolean).join(': ') || one.type)}`,
  );
  return print(
    c,
    body,
    [`${to}; rules: ${matches.map(({ id }) => id).join(', ') || 'none'}`, ...lines].join('\n'),
  );
}

function jsonOf(words: string): unknown {
  try {
    return JSON.parse(words);
  } catch {
    return usage('route test FROM TYPE {"values":{"t":1}}');
  }
}

function rulePath(c: Call, verb: string): string {
  const [id] = c.words;
  if (id === undefined) {
    usage(`route ${verb} ID`);
  }
  return `/v1/routes/${encodeURIComponent(id)}`;
}
