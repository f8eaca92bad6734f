import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../lib/errors.ts';
import { ask, type Call, type Command, dataOf, print, usage } from './call.ts';

interface Client {
  readonly name: string;
  readonly role?: string;
  readonly scopes: readonly string[];
  readonly rooms: readonly string[];
  readonly addresses?: readonly string[];
  readonly revokedAt?: number;
  readonly expiresAt?: number;
  readonly lastUsedAt?: number;
  readonly lastUsedFrom?: string;
}

/** Clients and their tokens. */
export const tokenCommands: readonly (readonly [string, Command])[] = [
  [
    'token owner',
    {
      words: '[--rotate [--grace SECONDS]]',
      does: 'print the owner token that was left in the data folder, and remove the file; or make another',
      run: ownerToken,
    },
  ],
  [
    'token create',
    {
      words: 'NAME [--role member | --scopes a,b] [--rooms hub] [--identity own] [--expires ISO-DATE]',
      does: 'mint a token; shown this once',
      run: createToken,
    },
  ],
  [
    'token rotate',
    {
      words: 'NAME [--grace SECONDS]',
      does: 'mint another token for a client; the one it has is good for a day, or so long',
      run: c => rotate(c, c.words[0]),
    },
  ],
  [
    'token set',
    {
      words: 'NAME [--role R | --scopes a,b] [--rooms hub] [--expires ISO-DATE|never]',
      does: 'change what a client may do',
      run: setToken,
    },
  ],
  ['token show', { words: 'NAME', does: 'a client, and when it was last there', run: showToken }],
  ['token list', { words: '', does: 'clients and their scopes', run: listTokens }],
  ['token revoke', { words: 'NAME', does: 'end a token', run: revokeToken }],
];

async function ownerToken(c: Call): Promise<number> {
  if (c.options.rotate === true) {
    return rotate(c, 'owner');
  }
  const file = join(dataOf(c), 'owner-token');
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch {
    throw new GatewayError(
      'request/not-found',
      `${file} is not there: the owner token was shown at the first start or has been read already. Make another with: kosctl token owner --rotate`,
    );
  }
  await print(c, { token }, token);
  rmSync(file);
  return 0;
}

async function createToken(c: Call): Promise<number> {
  const [name] = c.words;
  if (name === undefined) {
    usage('token create NAME [--scopes messages:read,messages:send]');
  }
  const { body } = await ask(c, 'POST', '/v1/tokens', {
    name,
    ...(typeof c.options.scopes === 'string' ? {} : { role: 'member' }),
    ...rightsOf(c, 'token create NAME --expires 2027-01-31T00:00:00Z'),
    ...(typeof c.options.identity === 'string' ? { identity: c.options.identity } : {}),
  });
  const { token, addresses = [] } = body as { token: string; addresses?: string[] };
  return print(c, body, [token, ...addresses].join('\n'));
}

/** What the options say of a client's rights, as the API takes it. */
function rightsOf(c: Call, example: string): Record<string, unknown> {
  const { scopes, role, rooms, expires } = c.options;
  const list = (value: string) => value.split(',').filter(part => part !== '');
  if (typeof expires === 'string' && expires !== 'never' && Number.isNaN(Date.parse(expires))) {
    usage(example);
  }
  return {
    ...(typeof scopes === 'string' && { scopes: list(scopes) }),
    ...(typeof role === 'string' && { role }),
    ...(typeof rooms === 'string' && { rooms: list(rooms) }),
    ...(typeof expires === 'string' && { expiresAt: expires === 'never' ? null : Date.parse(expires) }),
  };
}

async function rotate(c: Call, name: string | undefined): Promise<number> {
  const { grace } = c.options;
  if (name === undefined || (typeof grace === 'string' && !/^\d{1,9}$/.test(grace))) {
    usage('token rotate NAME [--grace SECONDS]');
  }
  const path = `/v1/tokens/${encodeURIComponent(name)}/rotate`;
  const { body } = await ask(c, 'POST', path, typeof grace === 'string' ? { grace: Number(grace) } : {});
  return print(c, body, (body as { token: string }).token);
}

async function setToken(c: Call): Promise<number> {
  const [name] = c.words;
  const example = 'token set NAME --role reader --expires never';
  const change = rightsOf(c, example);
  if (name === undefined || Object.keys(change).length === 0) {
    usage(example);
  }
  const { body } = await ask(c, 'PATCH', `/v1/tokens/${encodeURIComponent(name)}`, change);
  return print(c, body, lineOf(body as Client));
}

async function showToken(c: Call): Promise<number> {
  const [name] = c.words;
  if (name === undefined) {
    usage('token show NAME');
  }
  const { body } = await ask(c, 'GET', `/v1/tokens/${encodeURIComponent(name)}`);
  const client = body as Client;
  const used =
    client.lastUsedAt === undefined
      ? 'never used'
      : `last used ${new Date(client.lastUsedAt).toISOString()} from ${client.lastUsedFrom || 'this machine'}`;
  return print(c, body, [lineOf(client), used].join('\n'));
}

async function listTokens(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/tokens');
  const { items } = body as { items: Client[] };
  return print(c, items, items.map(lineOf).join('\n'));
}

function lineOf(client: Client): string {
  const { name, role, scopes, rooms, addresses = [], revokedAt, expiresAt } = client;
  const end = expiresAt === undefined ? '' : new Date(expiresAt).toISOString();
  const life =
    revokedAt !== undefined
      ? 'revoked'
      : end && `${(expiresAt ?? 0) <= Date.now() ? 'expired' : 'until'} ${end}`;
  const rights = [...(role === undefined ? [] : [role]), scopes.join(',')].join(' ');
  return `${name.padEnd(32)}  ${rights}  rooms ${rooms.join(',') || '-'}  ${[...addresses, life].join('  ')}`.trimEnd();
}

async function revokeToken(c: Call): Promise<number> {
  const [name] = c.words;
  if (name === undefined) {
    usage('token revoke NAME');
  }
  await ask(c, 'DELETE', `/v1/tokens/${encodeURIComponent(name)}`);
  return print(c, { revoked: name }, `revoked ${name}`);
}
