import { readDefinition } from '../gateway/replicas/definition-file.ts';
import { type PolicyRow, policyTable } from '../gateway/replicas/table.ts';
import { ask, type Call, print, printable, usage } from './call.ts';

interface Operation {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly state: string;
  readonly reason?: string;
  readonly attempts: number;
  readonly nextAt?: number;
  readonly createdAt: number;
  readonly conflict?: { readonly base?: string; readonly mine?: string; readonly theirs?: string };
}

interface Replica {
  readonly id: string;
  readonly title: string;
  readonly link: string;
  readonly since: number;
  readonly reason?: string;
  readonly lastGoodAt?: number;
  readonly cached: { readonly entries: number; readonly bytes: number };
  readonly queue: { readonly waiting: number; readonly blocked: number; readonly conflicts: number };
}

const resolutions = ['mine', 'theirs', 'discard', 'sent', 'not-sent'];

/** `replica check FILE`: every mistake of a definition, or its effective table. */
export async function checkReplica(c: Call): Promise<number> {
  const [file] = c.words;
  if (file === undefined) {
    usage('replica check FILE');
  }
  const definition = readDefinition(file);
  const rows = policyTable(definition);
  const { id, title, upstream } = definition;
  const cells = rows.map(row => [row.methods.join(','), row.path, meaning(row)]);
  const widths = [0, 1].map(column => Math.max(...cells.map(row => row[column]?.length ?? 0)));
  const lines = cells.map(row =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
  const text = [`${file}: good`, `${title}: /svc/${id}/ stands for ${upstream.url}`, '', ...lines].join('\n');
  return print(c, { file, ok: true, id, upstream: upstream.url, operations: rows }, text);
}

function meaning({ stream, read, write }: PolicyRow): string {
  if (stream) {
    return 'a stream: passed through, 503 offline';
  }
  if (read !== undefined) {
    if (read.mode === 'bypass') {
      return 'passed through, 504 offline';
    }
    const fresh = read.fresh === 'upstream' ? 'as long as the service says' : time(read.fresh);
    const offline = read.mode === 'rfc9111' ? 'as HTTP allows' : `up to ${time(read.offline)} old`;
    const more = read.override.length === 0 ? '' : `; disregards ${read.override.join(', ')}`;
    return `fresh ${fresh}; older after ${time(read.patience)} or an error; offline ${offline}${more}`;
  }
  if (write?.offline === 'queued') {
    return `queued offline; ${write.repeats}; conflict: ${write.conflict}`;
  }
  return 'online only: 503 offline';
}

function time(ms: number): string {
  for (const [unit, length] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
  ] as const) {
    if (ms >= length && ms % length === 0) {
      return `${ms / length}${unit}`;
    }
  }
  return `${ms}ms`;
}

/** `replica list` */
export async function listReplicas(c: Call): Promise<number> {
  const { body } = await ask(c, 'GET', '/v1/replicas');
  const { items } = body as { items: Replica[] };
  const lines = items.map(({ id, title, link, since, reason, cached, queue }) =>
    [
      id.padEnd(24),
      `${link} since ${new Date(since).toISOString()}${reason === undefined ? '' : ` (${printable(reason)})`}`,
      `${cached.entries} answers, ${Math.round(cached.bytes / 1024)} KiB`,
      `${queue.waiting} waiting, ${queue.blocked} blocked, ${queue.conflicts} in conflict`,
      printable(title),
    ].join('  '),
  );
  return print(c, items, lines.join('\n') || 'no replica is defined');
}

/** `replica queue ID` */
export async function queueOfReplica(c: Call): Promise<number> {
  const [id] = c.words;
  if (id === undefined) {
    usage('replica queue ID');
  }
  const rows: Operation[] = [];
  for (let after = ''; ; ) {
    const query = `limit=200${after === '' ? '' : `&after=${encodeURIComponent(after)}`}`;
    const { body } = await ask(c, 'GET', `/v1/replicas/${encodeURIComponent(id)}/queue?${query}`);
    const page = body as { items: Operation[]; cursor: string | null };
    rows.push(...page.items);
    if (page.cursor === null) {
      break;
    }
    after = page.cursor;
  }
  return print(c, rows, rows.map(line).join('\n') || 'nothing waits');
}

/** `replica retry ID OPERATION` */
export async function retryWrite(c: Call): Promise<number> {
  const [id, operation] = c.words;
  if (id === undefined || operation === undefined) {
    usage('replica retry ID OPERATION');
  }
  const { body } = await ask(c, 'POST', `${pathOf(id, operation)}/retry`);
  return print(c, body, line(body as Operation));
}

/** `replica resolve ID OPERATION HOW` */
export async function resolveWrite(c: Call): Promise<number> {
  const [id, operation, how] = c.words;
  if (id === undefined || operation === undefined || how === undefined || !resolutions.includes(how)) {
    usage(`replica resolve ID OPERATION ${resolutions.join('|')}`);
  }
  const { body } = await ask(c, 'POST', `${pathOf(id, operation)}/resolve`, { how });
  return print(c, body, line(body as Operation));
}

/** `replica offline ID`, `replica online ID` */
export async function forceReplica(c: Call, offline: boolean): Promise<number> {
  const [id] = c.words;
  if (id === undefined) {
    usage(`replica ${offline ? 'offline' : 'online'} ID`);
  }
  const { body } = await ask(c, 'POST', `/v1/replicas/${encodeURIComponent(id)}/link`, { offline });
  return print(c, body, `${id}: ${(body as Replica).link}`);
}

function pathOf(id: string, operation: string): string {
  return `/v1/replicas/${encodeURIComponent(id)}/queue/${encodeURIComponent(operation)}`;
}

function line({ id, method, path, state, reason, attempts, nextAt, createdAt, conflict }: Operation): string {
  const next = nextAt === undefined ? '' : `, next ${new Date(nextAt).toISOString()}`;
  const head = `${id}  ${new Date(createdAt).toISOString()}  ${method} ${printable(path)}  ${state}`;
  const why = reason === undefined ? '' : `: ${printable(reason)}`;
  const sides = conflict === undefined ? [] : (['base', 'mine', 'theirs'] as const);
  const shown = sides.flatMap(side =>
    conflict?.[side] === undefined ? [] : [`    ${side.padEnd(6)} ${printable(conflict[side])}`],
  );
  return [`${head}${why}  (${attempts} attempts${next})`, ...shown].join('\n');
}
