import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toHex } from '../../src/lib/bytes.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { destinationHash, nameHash } from '../../src/mesh/reticulum/destination.ts';
import { encodeIdentity, generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { ensurePython } from '../venv.ts';

/** Where programs of the reference find a node: the instance of this machine, or a TCP port as nodes of their own. */
export type Reach = { readonly instance: string; readonly rpcKey: string } | { readonly port: number };

/** The Python of a venv with NomadNet, or undefined where it cannot be had here: see `ensureVenv`. */
export function ensureNomadNet(): Promise<string | undefined> {
  return ensurePython({
    title: 'nomadnet 1.4.4 with rns 1.5.7',
    folder: join('py', 'nomadnet-1.4.4'),
    requirements: 'test/interop/requirements-nomadnet-1.4.4.txt',
    minor: 9,
    tests: 'Tests with NomadNet',
  });
}

/** Keys of a `[reticulum]` section with which a program uses the instance. */
export function sharing(reach: { readonly instance: string; readonly rpcKey: string }) {
  return { share_instance: 'Yes', instance_name: reach.instance, rpc_key: reach.rpcKey };
}

/** Writes a configuration folder of the reference. */
export async function writeReticulumConfig(folder: string, reach: Reach): Promise<string> {
  const lines =
    'port' in reach
      ? [
          '[reticulum]',
          '  share_instance = No',
          '[interfaces]',
          '  [[hub]]',
          '    type = TCPClientInterface',
          '    enabled = yes',
          '    target_host = 127.0.0.1',
          `    target_port = ${reach.port}`,
        ]
      : [
          '[reticulum]',
          ...Object.entries(sharing(reach)).map(([key, value]) => `  ${key} = ${value}`),
          '[interfaces]',
        ];
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'config'), `${lines.join('\n')}\n`);
  return folder;
}

/** An identity file, and the hash of the destination that a program makes of it. */
export async function writeIdentity(file: string, destination: string): Promise<string> {
  const identity = generateIdentity(systemRandom);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, encodeIdentity(identity));
  return toHex(destinationHash(nameHash(destination), identity.hash));
}

/** Runs a program of a venv to its end. */
export async function runTool(
  python: string,
  tool: string,
  words: readonly string[],
  options: { readonly home: string; readonly timeout?: number },
): Promise<{ readonly code: number | null; readonly out: string }> {
  const child = spawn(python, [join(dirname(python), tool), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: options.home, PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' },
    timeout: options.timeout ?? 60_000,
    killSignal: 'SIGKILL',
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      out += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out };
}

/** A program of a venv that runs until it is disposed; its output goes to a file. */
export async function startTool(
  python: string,
  tool: string,
  words: readonly string[],
  options: { readonly home: string },
): Promise<AsyncDisposable & { readonly output: () => string }> {
  const child: ChildProcess = spawn(python, [join(dirname(python), tool), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, HOME: options.home, PYTHONDONTWRITEBYTECODE: '1', PYTHONUNBUFFERED: '1' },
    // It may start others, which would outlive it: the group is ended as one.
    detached: true,
  });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      out = (out + text).slice(-65_536);
    });
  }
  const ended = once(child, 'exit');
  return {
    output: () => out,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
        process.kill(-child.pid, 'SIGKILL');
      }
      await ended;
      child.stdout?.destroy();
      child.stderr?.destroy();
    },
  };
}
