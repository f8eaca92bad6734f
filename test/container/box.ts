import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Image, sh } from './image.ts';

/*
 * A running container, as far as one can be had without a container engine: the image's own entry point as process 1 of
 * new process and mount namespaces, as the image's own user, on a root that the kernel holds read-only, with the image's
 * own environment; /data is a folder of this machine, /tmp and /dev are what an engine gives. Only the network is this
 * machine's, so that peers and homeservers of the tests are in reach on loopback.
 */

export interface BoxOptions {
  readonly image: Image;
  /** What lies at /data; it is given to the image's user. */
  readonly data: string;
  /** Over the image's environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** After the entry point. */
  readonly args?: readonly string[];
}

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Box extends AsyncDisposable {
  /** The process id of the entry point, seen from outside. */
  readonly pid: number;
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number | null>;
  /** Everything it said. */
  output(): string;
  /** Runs a program inside, as `docker exec` does: as the image's user unless another is named. */
  exec(command: readonly string[], user?: string): Promise<Ran>;
  /** The image's own health check. */
  health(): Promise<Ran>;
  /** Sends the image's stop signal; resolves with the exit code. */
  stop(): Promise<number | null>;
  kill(): Promise<void>;
}

export async function startBox({ image, data, environment = {}, args = [] }: BoxOptions): Promise<Box> {
  const { config } = image;
  const folder = await mkdtemp(join(tmpdir(), 'kos-box-'));
  const root = join(folder, 'root');
  await mkdir(root);
  const [uid = 0, gid = 0] = config.User.split(':').map(Number);
  await chown(data, uid, gid);
  await chmod(data, 0o700);
  // An id is what process 1 of the new namespace is found by.
  const script = `
    mount --make-rprivate /
    mount --bind ${image.mount} ${root}
    mount --bind ${data} ${root}/data
    mount -t proc proc ${root}/proc
    mount -t tmpfs -o mode=755 dev ${root}/dev
    for node in null zero full random urandom tty; do touch ${root}/dev/$node; mount --bind /dev/$node ${root}/dev/$node; done
    mount -t tmpfs -o mode=1777 tmp ${root}/tmp
    mount -o remount,bind,ro ${root}
    exec chroot --userspec=${config.User} --groups= ${root} /bin/sh -c 'cd ${config.WorkingDir} && exec "$@"' sh "$@"
  `;
  await writeFile(join(folder, 'run.sh'), `set -e\n${script}`);
  const env = {
    ...Object.fromEntries(
      config.Env.map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
    ),
    HOME: '/home/node',
    ...environment,
  };
  const command = [...config.Entrypoint, ...(config.Cmd ?? []), ...args];
  const own = ['--mount', '--pid', '--ipc', '--uts', '--fork'];
  const child = spawn('unshare', [...own, 'sh', join(folder, 'run.sh'), ...command], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-65_536);
    });
  }
  const ended = once(child, 'exit') as Promise<[number | null]>;
  const isUp = () => child.exitCode === null && child.signalCode === null;
  let pid = 0;
  const kill = async () => {
    // Process 1 takes the whole namespace with it; unshare's own end would not, because a changed user breaks that bond.
    const first = pid > 0 ? pid : await childOf(child);
    if (isUp() && first > 0) process.kill(first, 'SIGKILL');
    else if (isUp()) child.kill('SIGKILL');
    await ended;
  };
  const dispose = async () => {
    await kill();
    await rm(folder, { recursive: true, force: true });
  };
  pid = await firstProcess(child).catch(async error => {
    await dispose();
    throw new Error(`${error}\n${output}`);
  });

  const exec = async (words: readonly string[], user = config.User): Promise<Ran> => {
    const inside = ['chroot', `--userspec=${user}`, '--groups=', root, '/bin/sh', '-c'];
    const script = `cd ${config.WorkingDir} && exec "$@"`;
    const into = ['--target', String(pid), '--mount', '--pid', '--ipc', '--uts'];
    const entered = spawn('nsenter', [...into, ...inside, script, 'sh', ...words], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    entered.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    entered.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const [code] = (await once(entered, 'close')) as [number];
    return { code, stdout, stderr };
  };

  return {
    pid,
    ended: ended.then(([code]) => code),
    output: () => output,
    exec,
    health() {
      const [kind, ...words] = config.Healthcheck.Test;
      return exec(kind === 'CMD-SHELL' ? ['/bin/sh', '-c', words.join(' ')] : words);
    },
    async stop() {
      process.kill(pid, config.StopSignal as NodeJS.Signals);
      const [code] = await ended;
      return code;
    },
    kill,
    [Symbol.asyncDispose]: dispose,
  };
}

/** Process 1 of the namespace, once it is the entry point and no longer the script that prepares it. */
async function firstProcess(child: ChildProcess): Promise<number> {
  for (let tries = 0; tries < 1500; tries++) {
    if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}`);
    const pid = await childOf(child);
    const program = pid > 0 ? await sh('readlink', `/proc/${pid}/exe`).catch(() => '') : '';
    if (program.includes('/node')) return pid;
    await new Promise(resolve => setTimeout(resolve, 20));
  }
  throw new Error('the entry point did not start within 30 s');
}

async function childOf({ pid }: ChildProcess): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return Number(children.trim().split(' ')[0]);
}
