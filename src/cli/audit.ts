import { ask, type Call, type Command, print, printable } from './call.ts';

interface Line {
  readonly at: number;
  readonly actor: string;
  readonly door: string;
  readonly from: string;
  readonly action: string;
  readonly target?: string;
  readonly keys?: readonly string[];
  readonly status: number;
  readonly code?: string;
  readonly count: number;
}

/** The log of what was done to the hub. */
export const auditCommands: readonly (readonly [string, Command])[] = [
  [
    'audit',
    {
      words: '[--actor app:NAME] [--action tokens] [--after CURSOR] [--limit N]',
      does: 'who did what to the hub, and who was refused; the newest last',
      run: audit,
    },
  ],
];

async function audit(c: Call): Promise<number> {
  const query = new URLSearchParams();
  for (const name of ['actor', 'action', 'after', 'limit'] as const) {
    const value = c.options[name];
    if (typeof value === 'string') {
      query.set(name, value);
    }
  }
  const { body } = await ask(c, 'GET', `/v1/audit?${query}`);
  const { items, cursor } = body as { items: readonly Line[]; cursor: string | null };
  const more = cursor === null ? [] : [`earlier: kosctl audit --after ${cursor}`];
  return print(c, body, [...more, ...items.toReversed().map(line)].join('\n') || 'nothing yet');
}

function line({ at, actor, door, from, action, target, keys, status, code, count }: Line): string {
  const who = `${actor === '' ? 'somebody' : actor} (${[door, from].filter(word => word !== '').join(' ')})`;
  const what = [action, target, ...(keys === undefined ? [] : [`[${keys.join(' ')}]`])].filter(Boolean);
  const outcome = [status < 400 ? 'done' : (code ?? status), ...(count > 1 ? [`${count} times`] : [])];
  return printable(`${new Date(at).toISOString()}  ${who}  ${what.join(' ')}  ${outcome.join(', ')}`);
}
