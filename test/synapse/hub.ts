import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { eventually } from '../e2e/clients.ts';
import { type Daemon, startDaemon } from '../e2e/daemon.ts';
import { freePort, type Synapse, startSynapse } from './server.ts';

const root = join(import.meta.dirname, '..', '..');
const serverName = 'home.test';

export interface MatrixHubOptions {
  /** More keys of kos.yaml; those of `bridges.matrix` are added to the ones made here. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly matrix?: Readonly<Record<string, unknown>>;
  /** More keys of homeserver.yaml. */
  readonly homeserver?: Readonly<Record<string, unknown>>;
}

/** A real homeserver, and the real gateway as its appservice, on the same data and ports through every restart. */
export interface MatrixHub extends AsyncDisposable {
  readonly synapse: Synapse;
  /** The gateway as it runs now. */
  daemon(): Daemon;
  /** Starts the gateway again, after `daemon().kill()` or `stop()`. */
  restart(): Promise<Daemon>;
  /** Waits until the way to the homeserver and the way back are both open. */
  joined(): Promise<void>;
}

/** Sets both up as docs/matrix.md says: configuration, `kosctl matrix registration`, homeserver, gateway. */
export async function startMatrixHub(options: MatrixHubOptions = {}): Promise<MatrixHub> {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'kos-matrix-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const data = join(folder, 'data');
  await mkdir(data, { mode: 0o700 });
  const registration = join(data, 'matrix-registration.yaml');
  const [http, port] = [await freePort(), await freePort()];
  const config = {
    log: 'warn',
    ...options.config,
    listen: { http: `127.0.0.1:${http}` },
    bridges: {
      ...(options.config?.bridges as object | undefined),
      matrix: { homeserver: `http://127.0.0.1:${port}`, serverName, registration, ...options.matrix },
    },
  };
  const file = join(folder, 'kos.yaml');
  await writeFile(file, stringify(config));
  const kosctl = join(root, 'bin', 'kosctl.js');
  await promisify(execFile)(process.execPath, [kosctl, '--config', file, 'matrix', 'registration']);
  const synapse = stack.use(
    await startSynapse({
      registrationFile: registration,
      port,
      serverName,
      ...(options.homeserver === undefined ? {} : { keys: options.homeserver }),
    }),
  );
  let daemon = await startDaemon({ data, config });
  stack.defer(() => daemon[Symbol.asyncDispose]());
  const token = daemon.ready.ownerToken as string;
  const owned = stack.move();
  return {
    synapse,
    daemon: () => daemon,
    async restart() {
      const old = daemon;
      daemon = await startDaemon({ data, config });
      await old[Symbol.asyncDispose]();
      // It was minted at the first start, and is the owner's still.
      const { call } = daemon;
      daemon = { ...daemon, ready: { ...daemon.ready, ownerToken: token } };
      daemon.call = (method, path, more = {}) => call(method, path, { token, ...more });
      return daemon;
    },
    async joined() {
      await eventually(
        'the gateway has joined the homeserver',
        async () => {
          const { body } = await daemon.call<{ services?: readonly { name: string; state: string }[] }>(
            'GET',
            '/v1/status',
            {
              token,
            },
          );
          const up = (name: string) => body.services?.find(one => one.name === name)?.state;
          return up('matrix') === 'up' && up('matrix-push') === 'up';
        },
        60_000,
      ).catch(error => {
        throw new Error(`${error}\n${daemon.stderr().slice(-2000)}\n${synapse.log().slice(-2000)}`);
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
