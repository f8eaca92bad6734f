import type { MemberState, Peer, RoomDetail, RouteTrial, RouteView } from '../gateway/society-contract.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';
import { keysOf } from './interfaces.ts';

const routeAdd = 'route add ID KEY=VALUE…';

/** Changes rooms, routes and what is said of peers, in a running gateway. */
export const roomCommands: readonly (readonly [string, Command])[] = [
  ['room list', { words: '', does: 'rooms and how many are in them', run: listRooms }],
  ['room show', { words: 'NAME', does: 'who is in a room, and what does not reach them', run: showRoom }],
  ['room add', { words: 'NAME [MEMBER…] [--open]', does: 'make a room', run: addRoom }],
  ['room remove', { words: 'NAME', does: 'take a room away', run: removeRoom }],
  [
    'room join',
    {
      words: 'NAME ADDRESS [--agreed]',
      does: 'add a member; somebody on the mesh is asked, unless they have --agreed',
      run: joinRoom,
    },
  ],
  ['room leave', { words: 'NAME ADDRESS', does: 'take a member out', run: leaveRoom }],
  ['room reset', { words: 'NAME', does: 'forget what was changed beside the config file', run: resetRoom }],
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
  ['peer show', { words: 'ADDRESS', does: 'what is known of somebody', run: showPeer }],
  [
    'peer set',
    {
      words: 'ADDRESS KEY=VALUE…',
      does: 'name, trust (known, trusted), consent (asked, given, refused); KEY= takes one away',
      run: setPeer,
    },
  ],
  [
    'peer block',
    {
      words: 'ADDRESS [REASON]',
      does: 'take nothing from it and send nothing to it; * is anything',
      run: block,
    },
  ],
  ['peer unblock', { words: 'ADDRESS', does: 'block it no longer', run: unblock }],
  ['peer blocks', { words: '', does: 'whom nothing is taken from', run: listBlocks }],
];

async function listRooms(c: Call): Promise<number> {
  const { items } = (await ask(c, 'GET', '/v1/rooms')).body as { items: RoomDetail[] };
  const lines = items.map(
    ({ name, members, open, source, changed, addresses }) =>
      `${name.padEnd(32)}  ${String(members.length).padStart(3)} in it  ${source}${changed ? ', changed' : ''}${open ? ', open' : ''}  ${addresses.join(' ')}`,
  );
  return print(c, items, lines.join('\n'));
}

async function showRoom(c: Call): Promise<number> {
  return tellRoom(c, (await ask(c, 'GET', roomPath(c, 'show NAME'))).body as RoomDetail);
}

async function addRoom(c: Call): Promise<number> {
  const [name, ...members] = c.words;
  if (name === undefined) {
    usage('room add NAME [MEMBER…] [--open]');
  }
  const { body } = await ask(c, 'POST', '/v1/rooms', { name, members, open: c.options.open === true });
  return tellRoom(c, body as RoomDetail);
}

async function removeRoom(c: Call): Promise<number> {
  await ask(c, 'DELETE', roomPath(c, 'remove NAME'));
  return print(c, { removed: c.words[0] }, `${c.words[0]} is gone`);
}

async function joinRoom(c: Call): Promise<number> {
  const agreed = c.options.agreed === true ? '?consent=given' : '';
  const { body } = await ask(c, 'PUT', `${memberPath(c, 'join')}${agreed}`);
  return tellRoom(c, body as RoomDetail);
}

async function leaveRoom(c: Call): Promise<number> {
  await ask(c, 'DELETE', memberPath(c, 'leave'));
  return print(c, { removed: c.words[1] }, `${c.words[1]} is not in ${c.words[0]} any more`);
}

async function resetRoom(c: Call): Promise<number> {
  await ask(c, 'POST', `${roomPath(c, 'reset NAME')}/reset`);
  return print(c, { reset: c.words[0] }, `${c.words[0]} is as in the config file`);
}

function roomPath(c: Call, words: string): string {
  const [name] = c.words;
  if (name === undefined) {
    usage(`room ${words}`);
  }
  return `/v1/rooms/${encodeURIComponent(name)}`;
}

function memberPath(c: Call, verb: string): string {
  const [, address] = c.words;
  if (address === undefined) {
    usage(`room ${verb} NAME ADDRESS`);
  }
  return `${roomPath(c, verb)}/members/${encodeURIComponent(address)}`;
}

function tellRoom(c: Call, room: RoomDetail): Promise<number> {
  const about = ({ address, name, source, consent, blocked, trouble }: MemberState) =>
    [
      `  ${address}`,
      printable(name ?? ''),
      source,
      ...(consent === undefined ? [] : [consent]),
      ...(blocked === true ? ['blocked'] : []),
      ...(trouble === undefined
        ? []
        : [printable(`${trouble.state}: ${trouble.reason ?? trouble.code ?? ''}`)]),
    ]
      .filter(word => word !== '')
      .join('  ');
  const head = `${room.name}  ${room.source}${room.changed ? ', changed' : ''}${room.open ? ', open' : ''}  ${room.addresses.join(' ')}`;
  return print(c, room, [head, ...room.memberStates.map(about)].join('\n'));
}

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

async function showPeer(c: Call): Promise<number> {
  return tellPeer(c, (await ask(c, 'GET', peerPath(c, 'show ADDRESS'))).body as Peer);
}

async function setPeer(c: Call): Promise<number> {
  const [, ...pairs] = c.words;
  const words = 'set ADDRESS KEY=VALUE…';
  if (pairs.length === 0) {
    usage(`peer ${words}`);
  }
  const { body } = await ask(c, 'PATCH', peerPath(c, words), keysOf(pairs, `peer ${words}`));
  return tellPeer(c, body as Peer);
}

function tellPeer(c: Call, peer: Peer): Promise<number> {
  const lines = Object.entries(peer).map(
    ([key, value]) =>
      `${key.padEnd(10)}  ${key === 'lastSeen' ? new Date(Number(value)).toISOString() : printable(typeof value === 'object' ? JSON.stringify(value) : String(value))}`,
  );
  return print(c, peer, lines.join('\n'));
}

async function block(c: Call): Promise<number> {
  const [pattern, ...reason] = c.words;
  const body = reason.length === 0 ? {} : { reason: reason.join(' ') };
  const answer = await ask(c, 'PUT', blockPath(c, 'block ADDRESS [REASON]'), body);
  return print(c, answer.body, `${pattern} is blocked`);
}

async function unblock(c: Call): Promise<number> {
  await ask(c, 'DELETE', blockPath(c, 'unblock ADDRESS'));
  return print(c, { unblocked: c.words[0] }, `${c.words[0]} is not blocked any more`);
}

async function listBlocks(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/blocks');
  const { items } = body as { items: { pattern: string; reason?: string; since: number }[] };
  const lines = items.map(({ pattern, reason, since }) =>
    `${printable(pattern)}  since ${new Date(since).toISOString()}  ${printable(reason ?? '')}`.trimEnd(),
  );
  return print(c, items, lines.join('\n') || 'nobody');
}

function peerPath(c: Call, words: string): string {
  return `/v1/peers/${encoded(c, words)}`;
}

function blockPath(c: Call, words: string): string {
  return `/v1/blocks/${encoded(c, words)}`;
}

function encoded(c: Call, words: string): string {
  const [address] = c.words;
  if (address === undefined) {
    usage(`peer ${words}`);
  }
  return encodeURIComponent(address);
}
