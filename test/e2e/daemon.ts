import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The line `kosd --json` prints. */
export interface Ready {
  readonly event: 'ready';
  readonly hub: string;
  readonly http: string;
  readonly mqtt: string;
  readonly lxmf: string;
  readonly ownerToken?: string;
  /** Where the replicas are, if any is defined. */
  readonly replicas?: string;
  /** Where ntfy and the others have a root of their own, if that is asked for. */
  readonly legacy?: string;
  readonly interfaces: Readonly<Record<string, string>>;
}

export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: T;
}

export interface DaemonOptions {
  readonly config?: Record<string, unknown>;
  /** A data folder to start on again; a fresh one otherwise, removed at the end. */
  readonly data?: string;
  readonly environment?: Record<string, string>;
  /** A program in front of it, such as strace and its arguments. */
  readonly under?: readonly string[];
}

/** The real program in a process of its own, on ports of its own. */
export interface Daemon extends AsyncDisposable {
  readonly ready: Ready;
  readonly data: string;
  readonly process: ChildProcess;
  /** ms from exec to the ready line. */
  readonly startedIn: number;
  call<T = Record<string, unknown>>(
    method: string,
    path: string,
    options?: { body?: unknown; token?: string; headers?: Record<string, string>; raw?: Uint8Array },
  ): Promise<Answer<T>>;
  kosctl(...words: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** SIGKILL, and waits for the end. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  stderr(): string;
}

export async function startDaemon(options: DaemonOptions = {}): Promise<Daemon> {
  const folder = await mkdtemp(join(tmpdir(), 'kos-e2e-'));
  const data = options.data ?? join(folder, 'data');
  const file = join(folder, 'kos.yaml');
  const config = {
    ...options.config,
    listen: { http: '127.0.0.1:0', mqtt: '127.0.0.1:0', ...(options.config?.listen as object | undefined) },
  };
  await writeFile(file, stringify(config));
  const [program, ...before] = [...(options.under ?? []), process.execPath];
  const started = performance.now();
  const child = spawn(
    program as string,
    [...before, join(root, 'bin/kosd.js'), '--config', file, '--data', data, '--json'],
    {
      cwd: folder,
      env: { ...process.env, ...options.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A tracer's end does not end what it traces: the group is killed as one.
      detached: options.under !== undefined,
    },
  );
  const kill = () => {
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
      process.kill(options.under === undefined ? child.pid : -child.pid, 'SIGKILL');
    }
  };
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-65_536);
  });
  const ended = once(child, 'exit');
  const ready = await new Promise<Ready>((resolve, reject) => {
    let stdout = '';
    const timer = setTimeout(() => reject(new Error(`not ready after 60 s: ${stderr}`)), 60_000);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      const end = stdout.indexOf('\n');
      if (end >= 0) {
        clearTimeout(timer);
        resolve(JSON.parse(stdout.slice(0, end)) as Ready);
      }
    });
    child.on('exit', code => {
      clearTimeout(timer);
      reject(new Error(`ended with ${code} before it was ready: ${stderr}`));
    });
  });
  const startedIn = performance.now() - started;

  const daemon: Daemon = {
    ready,
    data,
    process: child,
    startedIn,
    stderr: () => stderr,
    call: (method, path, call = {}) =>
      callHttp(ready.http, method, path, { token: ready.ownerToken, ...call }),
    async kosctl(...words) {
      const control = spawn(process.execPath, [join(root, 'bin/kosctl.js'), '--data', data, ...words], {
        cwd: folder,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let out = '';
      let error = '';
      control.stdout.setEncoding('utf8').on('data', (text: string) => {
        out += text;
      });
      control.stderr.setEncoding('utf8').on('data', (text: string) => {
        error += text;
      });
      const [code] = (await once(control, 'close')) as [number];
      return { code, stdout: out, stderr: error };
    },
    async kill() {
      kill();
      await ended;
    },
    async stop() {
      child.kill('SIGTERM');
      const [code] = (await ended) as [number | null];
      return code;
    },
    async [Symbol.asyncDispose]() {
      kill();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
  return daemon;
}

/** One HTTP call; the body is JSON where it can be, else text. */
export function callHttp<T>(
  base: string,
  method: string,
  path: string,
  options: { body?: unknown; token?: string | undefined; headers?: Record<string, string>; raw?: Uint8Array },
): Promise<Answer<T>> {
  const payload =
    options.raw ?? (options.body === undefined ? undefined : Buffer.from(JSON.stringify(options.body)));
  return new Promise((resolve, reject) => {
    const call = request(
      new URL(path, base),
      {
        method,
        headers: {
          ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
          ...(payload === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': payload.length }),
          ...options.headers,
        },
      },
      response => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          let body: unknown = text;
          try {
            body = JSON.parse(text);
          } catch {}
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: body as T });
        });
      },
    );
    call.on('error', reject);
    call.end(payload);
  });
}
