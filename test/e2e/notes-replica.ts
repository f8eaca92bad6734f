import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NotesOrigin } from '../sim/origins/notes.ts';
import { type Answer, callHttp, type Daemon, startDaemon } from './daemon.ts';

const shipped = join(import.meta.dirname, '../../replicas');

/** The shipped notes definition in front of a test origin, in a real daemon. */
export interface NotesReplica extends AsyncDisposable {
  readonly daemon: () => Daemon;
  /** URL of the replica: what an app is given instead of the service's. */
  readonly url: () => string;
  /** A request to the replica; as alice where no token is named. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read members of whatever came
  call<T = any>(
    method: string,
    path: string,
    body?: unknown,
    more?: { token?: string; headers?: Record<string, string> },
  ): Promise<Answer<T>>;
  /** SIGKILL, and a new start on the same data. */
  killAndRestart(): Promise<void>;
}

export async function startNotesReplica(origin: NotesOrigin): Promise<NotesReplica> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-notes-'));
  const definitions = join(folder, 'replicas');
  await mkdir(definitions);
  const definition = await readFile(join(shipped, 'notes.replica.yaml'), 'utf8');
  await writeFile(
    join(definitions, 'notes.replica.yaml'),
    definition
      .replace('url: https://notes.example/v1', `url: ${origin.url}/v1\n  allowPrivate: true`)
      .replace('/ping,', '/ping, every: 5s,'),
  );
  await writeFile(
    join(definitions, 'notes.openapi.yaml'),
    await readFile(join(shipped, 'notes.openapi.yaml')),
  );
  const start = () =>
    startDaemon({
      data: join(folder, 'data'),
      config: {
        replicas: join(definitions, '*.replica.yaml'),
        listen: { replicas: '127.0.0.1:0' },
        log: 'warn',
      },
    });
  let daemon = await start();
  const base = () => (daemon.ready as unknown as { replicas: string }).replicas;
  return {
    daemon: () => daemon,
    url: () => `${base()}/notes`,
    call: (method, path, body, { token = 'token-alice', headers = {} } = {}) =>
      callHttp(base(), method, `/svc/notes${path}`, { token, headers, ...(body !== undefined && { body }) }),
    async killAndRestart() {
      await daemon.kill();
      const dead = daemon;
      daemon = await start();
      await dead[Symbol.asyncDispose]();
    },
    async [Symbol.asyncDispose]() {
      await daemon[Symbol.asyncDispose]();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
