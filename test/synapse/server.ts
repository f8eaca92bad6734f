import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { ensurePython } from '../venv.ts';

/** The version the tests run against; test/synapse/requirements.txt pins it with all that it needs. */
export const synapseVersion = '1.163.2';

const keptLog = 65_536; // characters
const patience = 60_000;

/** The Python of a venv that has Synapse; undefined, with a loud notice, where none can be made. Throws when `CI` is set. */
export function ensureSynapse(): Promise<string | undefined> {
  return ensurePython({
    title: `the homeserver matrix-synapse ${synapseVersion}`,
    folder: join('synapse', synapseVersion),
    requirements: 'test/synapse/requirements.txt',
    minor: 10,
    tests: 'Tests with a real homeserver',
  });
}

/** Why tests with a homeserver cannot run here, for node:test's `skip`; false when they can. */
export async function missingSynapse(): Promise<string | false> {
  return (await ensureSynapse()) === undefined ? `matrix-synapse ${synapseVersion} is not available` : false;
}

export interface SynapseOptions {
  /** The registration of an appservice, or of several. Read at every start, so it must be there then. */
  readonly registrationFile?: string | readonly string[];
  /** A free one is taken, and kept, without. */
  readonly port?: number;
  /** Where everything is kept; without one a temporary folder, removed at the end. */
  readonly dir?: string;
  readonly serverName?: string;
  /** More keys of homeserver.yaml. */
  readonly keys?: Readonly<Record<string, unknown>>;
}

export interface Account {
  readonly userId: string;
  readonly accessToken: string;
  readonly deviceId: string;
}

/** A real homeserver in a process of its own, on loopback alone, with SQLite and without federation. */
export interface Synapse extends AsyncDisposable {
  readonly url: string;
  readonly serverName: string;
  readonly port: number;
  readonly dir: string;
  /** Registers a person, whose password is their name. */
  registerUser(name: string): Promise<Account>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM, and waits for the end. */
  stop(): Promise<void>;
  /** Starts again on the same data and port, after kill or stop; with another registration where one is given. */
  restart(registrationFile?: string | readonly string[]): Promise<void>;
  /** SIGSTOP: connections are taken and nothing answers. */
  freeze(): void;
  thaw(): void;
  /** The end of its log. */
  log(): string;
}

/** A port that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise(resolve => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

export async function startSynapse(options: SynapseOptions = {}): Promise<Synapse> {
  const python = await ensureSynapse();
  if (python === undefined) throw new Error(`matrix-synapse ${synapseVersion} is not available`);
  const dir = options.dir ?? (await mkdtemp(join(tmpdir(), 'kos-synapse-')));
  const port = options.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const serverName = options.serverName ?? 'home.test';
  const file = join(dir, 'homeserver.yaml');
  let registrations = [options.registrationFile ?? []].flat();
  await mkdir(dir, { recursive: true });
  const key = `ed25519 a_test ${randomBytes(32).toString('base64').replaceAll('=', '')}\n`;
  await writeFile(join(dir, 'signing.key'), key, { flag: 'wx' }).catch(() => {});

  let child: ChildProcess | undefined;
  let ended: Promise<unknown> = Promise.resolve();
  let log = '';
  const isUp = () => child !== undefined && child.exitCode === null && child.signalCode === null;
  const start = async () => {
    await writeFile(
      file,
      stringify(configuration({ dir, port, serverName, registrations, keys: options.keys })),
    );
    child = spawn(python, ['-m', 'synapse.app.homeserver', '-c', file], {
      cwd: dir,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    ended = once(child, 'exit');
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log = (log + text).slice(-keptLog);
      });
    }
    const end = performance.now() + patience;
    while (!(await answers(`${url}/_matrix/client/versions`))) {
      if (!isUp() || performance.now() > end) throw new Error(`Synapse does not serve:\n${log.slice(-4000)}`);
      await sleep(50);
    }
  };
  const end = async (signal: NodeJS.Signals) => {
    if (isUp()) {
      child?.kill('SIGCONT');
      child?.kill(signal);
    }
    await ended;
  };
  const dispose = async () => {
    await end('SIGKILL');
    if (options.dir === undefined) await rm(dir, { recursive: true, force: true });
  };
  try {
    await start();
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    url,
    serverName,
    port,
    dir,
    async registerUser(name) {
      const answer = await fetch(`${url}/_matrix/client/v3/register`, {
        method: 'POST',
        body: JSON.stringify({ username: name, password: name, auth: { type: 'm.login.dummy' } }),
      });
      const body = (await answer.json()) as { user_id: string; access_token: string; device_id: string };
      if (!answer.ok) throw new Error(`${name} could not be registered: ${JSON.stringify(body)}`);
      return { userId: body.user_id, accessToken: body.access_token, deviceId: body.device_id };
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    async restart(registrationFile) {
      if (isUp()) throw new Error('Synapse still runs');
      if (registrationFile !== undefined) registrations = [registrationFile].flat();
      await start();
    },
    freeze: () => void child?.kill('SIGSTOP'),
    thaw: () => void child?.kill('SIGCONT'),
    log: () => log,
    [Symbol.asyncDispose]: dispose,
  };
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { signal: AbortSignal.timeout(5000) }).then(
    async response => {
      await response.arrayBuffer();
      return response.ok;
    },
    () => false,
  );
}

interface Settings {
  readonly dir: string;
  readonly port: number;
  readonly serverName: string;
  readonly registrations: readonly string[];
  readonly keys: Readonly<Record<string, unknown>> | undefined;
}

function configuration({ dir, port, serverName, registrations, keys }: Settings): object {
  const free = { per_second: 100_000, burst_count: 100_000 };
  return {
    server_name: serverName,
    listeners: [
      {
        port,
        type: 'http',
        tls: false,
        bind_addresses: ['127.0.0.1'],
        resources: [{ names: ['client'], compress: false }],
      },
    ],
    database: { name: 'sqlite3', args: { database: join(dir, 'homeserver.db') } },
    media_store_path: join(dir, 'media'),
    signing_key_path: join(dir, 'signing.key'),
    macaroon_secret_key: 'for tests alone',
    form_secret: 'for tests alone',
    registration_shared_secret: 'for tests alone',
    enable_registration: true,
    enable_registration_without_verification: true,
    report_stats: false,
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    federation_domain_whitelist: [],
    url_preview_enabled: false,
    bcrypt_rounds: 4,
    app_service_config_files: registrations,
    rc_message: free,
    rc_registration: free,
    rc_login: { address: free, account: free, failed_attempts: free },
    rc_joins: { local: free, remote: free },
    rc_joins_per_room: free,
    rc_invites: { per_room: free, per_user: free, per_issuer: free },
    rc_admin_redaction: free,
    rc_media_create: free,
    ...keys,
  };
}
