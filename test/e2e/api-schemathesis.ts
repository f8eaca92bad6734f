import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { platform } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { documentPath } from '../../tools/openapi.ts';
import { ensurePython } from '../venv.ts';
import { startDaemon } from './daemon.ts';

const run = promisify(execFile);

/** A Python with schemathesis and a validator of OpenAPI documents; undefined where there is none. */
export function ensureApiTools(): Promise<string | undefined> {
  return ensurePython({
    title: 'schemathesis 4.32.5 and openapi-spec-validator 0.9.0',
    folder: join('py', 'api-4.32.5-0.9.0'),
    requirements: 'test/e2e/requirements-api.txt',
    minor: 10,
    tests: 'The tests of the API against its OpenAPI document',
  });
}

/**
 * What the tool does not call. The stream of events does not end, which it takes for an answer that never comes; a
 * log-in with a made-up token is what the lock-out is for; and a new token of its own would end the one it has.
 */
const leftOut = ['getEvents', 'postSession', 'postMeRotate'];

/**
 * Runs schemathesis over every operation of a real daemon, with all phases and all checks on. Resolves with its summary;
 * rejects with what it found. The document's WebSocket is no operation of OpenAPI.
 */
export async function driveApi(python: string, seed: number, examples: number): Promise<string> {
  await using daemon = await startDaemon({
    config: {
      rooms: { plaza: { members: ['app:notice-board'] } },
      interfaces: [{ name: 'server', kind: 'tcp-server', port: 0 }],
      log: 'warn',
    },
  });
  await using door = await openDoor(Number(new URL(daemon.ready.http).port));
  const { stdout } = await run(
    python,
    [
      '-m',
      'schemathesis.cli',
      '--config-file',
      join(import.meta.dirname, 'api-schemathesis.toml'),
      'run',
      documentPath,
      '--url',
      `http://127.0.0.1:${door.port}`,
      ...['--header', `Authorization: Bearer ${daemon.ready.ownerToken}`, '--header', 'Connection: close'],
      ...leftOut.flatMap(id => ['--exclude-operation-id', id]),
      ...['--phases', 'examples,coverage,fuzzing,stateful', '--max-examples', String(examples)],
      ...['--seed', String(seed), '--no-color'],
    ],
    {
      timeout: 3_600_000,
      maxBuffer: 64 * 1024 * 1024,
      cwd: daemon.data,
      env: { ...process.env, SCHEMATHESIS_HOOKS: join(import.meta.dirname, 'api_schemathesis.py') },
    },
  ).catch((error: { stdout?: string; message: string }) => {
    const found = error.stdout?.slice(error.stdout.search(/^=+ (?:ERRORS|FAILURES)/m)).slice(0, 20_000);
    throw new Error(`schemathesis with seed ${seed} has findings:\n${found ?? error.message}`);
  });
  const { status, body } = await daemon.call<{ services: { bugs: number }[] }>('GET', '/v1/status');
  if (status !== 200) {
    throw new Error(`the token did not hold to the end: ${status} ${JSON.stringify(body)}`);
  }
  if (body.services.some(service => service.bugs > 0) || /a bug in/.test(daemon.stderr())) {
    throw new Error(`the daemon logged a bug with seed ${seed}:\n${daemon.stderr().slice(-4000)}`);
  }
  return stdout;
}

/** How many cases it made, and in how many they passed. */
export function casesOf(summary: string): { readonly made: number; readonly passed: number } {
  const [, made, passed] = /(\d+) generated, (\d+) passed/.exec(summary) ?? [];
  return { made: Number(made ?? 0), passed: Number(passed ?? 0) };
}

/**
 * A way to the daemon on which every connection comes from an address of its own: the tool shows wrong tokens to every
 * operation, and would be locked out like anybody who does. Where only one loopback address is there, it is that one.
 */
async function openDoor(port: number): Promise<{ readonly port: number } & AsyncDisposable> {
  let count = 0;
  const server = createServer(near => {
    count += 1;
    const localAddress = `127.${1 + ((count >> 16) & 63)}.${(count >> 8) & 255}.${1 + (count % 254)}`;
    const far = connect({ port, host: '127.0.0.1', ...(platform() === 'linux' && { localAddress }) });
    near.pipe(far).pipe(near);
    near.on('error', () => far.destroy()).on('close', () => far.destroy());
    // What the daemon did not want to read is read here, so that its answer is not lost with a reset.
    far.on('error', () => near.unpipe(far).resume().end()).on('close', () => near.unpipe(far).resume().end());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as { port: number }).port,
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}
