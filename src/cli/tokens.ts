import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { GatewayError } from '../lib/errors.ts';
import { ask, type Call, type Command, dataOf, print, usage } from './call.ts';

/** Clients and their tokens. */
export const tokenCommands: readonly (readonly [string, Command])[] = [
  [
    'token owner',
    {
      words: '',
      does: 'print the owner token that was left in the data folder, and remove the file',
      run: ownerToken,
    },
  ],
  [
    'token create',
    {
      words: 'NAME [--scopes a,b] [--rooms hub] [--identity own] [--expires ISO-DATE]',
      does: 'mint a token; shown this once',
      run: createToken,
    },
  ],
  ['token list', { words: '', does: 'clients and their scopes', run: listTokens }],
  ['token revoke', { words: 'NAME', does: 'end a token', run: revokeToken }],
];

async function ownerToken(c: Call): Promise<number> {
  const file = join(dataOf(c), 'owner-token');
  let token: string;
  try {
    token = readFileSync(file, 'utf8').trim();
  } catch {
    throw new GatewayError(
      'request/not-found',
      `${file} is not there: the owner token was shown at the first start or has been read already. Mint another with: kosctl token create NAME --scopes admin`,
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
  const list = (value: string | boolean | undefined, fallback: string[]) =>
    typeof value === 'string' ? value.split(',').filter(part => part !== '') : fallback;
  const expires = c.options.expires;
  if (typeof expires === 'string' && Number.isNaN(Date.parse(expires))) {
    usage('token create NAME --expires 2027-01-31T00:00:00Z');
  }
  const { body } = await ask(c, 'POST', '/v1/tokens', {
    name,
    scopes: list(c.options.scopes, ['messages:read', 'messages:send', 'peers:read']),
    ...(typeof c.options.identity === 'string' ? { identity: c.options.identity } : {}),
    ...(typeof c.options.rooms === 'string' ? { rooms: list(c.options.rooms, []) } : {}),
    ...(typeof expires === 'string' ? { expiresAt: Date.parse(expires) } : {}),
  });
  const { token, addresses = [] } = body as { token: string; addresses?: string[] };
  return print(c, body, [token, ...addresses].join('\n'));
}

async function listTokens(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/tokens');
  const { items } = body as {
    items: {
      name: string;
      scopes: string[];
      rooms: string[];
      addresses?: string[];
      revokedAt?: number;
      expiresAt?: number;
    }[];
  };
  const lines = items.map(client => {
    const life =
      client.revokedAt !== undefined
        ? 'revoked'
        : client.expiresAt === undefined
          ? ''
          : `${client.expiresAt <= Date.now() ? 'expired' : 'until'} ${new Date(client.expiresAt).toISOString()}`;
    return `${client.name.padEnd(32)}  ${client.scopes.join(',')}  rooms ${client.rooms.join(',') || '-'}  ${[...(client.addresses ?? []), life].join('  ')}`.trimEnd();
  });
  return print(c, items, lines.join('\n'));
}

async function revokeToken(c: Call): Promise<number> {
  const [name] = c.words;
  if (name === undefined) {
    usage('token revoke NAME');
  }
  await ask(c, 'DELETE', `/v1/tokens/${encodeURIComponent(name)}`);
  return print(c, { revoked: name }, `revoked ${name}`);
}
