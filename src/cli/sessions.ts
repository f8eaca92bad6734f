import { ask, type Call, type Command, print, printable, usage } from './call.ts';

interface Session {
  readonly id: string;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  readonly lastUsedFrom: string;
  readonly userAgent: string;
  readonly expiresAt: number;
}

/** Browsers that are logged in with the token of whoever asks; on the hub's own machine that is the owner's. */
export const sessionCommands: readonly (readonly [string, Command])[] = [
  ['session list', { words: '', does: 'browsers that are logged in', run: listSessions }],
  ['session end', { words: 'ID | all', does: 'log a browser out, or all of them', run: endSession }],
];

async function listSessions(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/sessions');
  const { items } = body as { items: readonly Session[] };
  return print(c, body, items.map(line).join('\n') || 'no browser is logged in');
}

async function endSession(c: Call): Promise<number> {
  const [id] = c.words;
  if (id === undefined) {
    usage('session end ID, or session end all');
  }
  if (id === 'all') {
    const { body } = await ask(c, 'DELETE', '/v1/sessions');
    return print(c, body, `${(body as { ended: number }).ended} ended`);
  }
  await ask(c, 'DELETE', `/v1/sessions/${encodeURIComponent(id)}`);
  return print(c, { ended: 1 }, 'ended');
}

function line({ id, createdAt, lastUsedAt, lastUsedFrom, userAgent, expiresAt }: Session): string {
  const [made, used, ends] = [createdAt, lastUsedAt, expiresAt].map(at => new Date(at).toISOString());
  return printable(
    `${id}  used ${used} from ${lastUsedFrom}  logged in ${made}  ends ${ends}  ${userAgent || '-'}`,
  );
}
