import type { Peer } from '../gateway/society-contract.ts';
import { ask, type Call, type Command, print, printable, usage } from './call.ts';
import { keysOf } from './interfaces.ts';

/** What is known of somebody, and what the owner says of them; whom nothing is taken from. */
export const peerCommands: readonly (readonly [string, Command])[] = [
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
