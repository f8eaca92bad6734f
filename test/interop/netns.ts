import { execFile, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { promisify } from 'node:util';

const run = promisify(execFile);
const prefix = 'kosns';
let made = 0;

/**
 * Why tests in network namespaces cannot run here, for node:test's `skip`; false when they can. Said loudly, and a
 * failure instead where `CI` is set, we are root and only the package is missing.
 */
export async function missingNetns(): Promise<string | false> {
  const probe = `${prefix}-${process.pid}-probe`;
  const failure = await ip('netns', 'add', probe)
    .then(() => ip('netns', 'del', probe))
    .catch((error: Error) => error);
  if (!(failure instanceof Error)) {
    return false;
  }
  const root = process.getuid?.() === 0;
  const absent = (failure.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
  const remedy = absent
    ? 'on Debian: apt-get install iproute2'
    : root
      ? 'this root may not make them'
      : 'they need root: sudo env "PATH=$PATH" npm test';
  const notice = `network namespaces cannot be made: ${failure.message.trim()}; ${remedy}`;
  if (root && absent && process.env.CI) {
    throw new Error(notice);
  }
  console.error(
    `\n${'!'.repeat(100)}\n${notice}\nTests on a LAN of network namespaces are skipped.\n${'!'.repeat(100)}\n`,
  );
  return notice;
}

/** A machine of its own on the LAN: a network namespace with one adapter `eth0`, a cable to a switch. */
export interface Host {
  readonly namespace: string;
  /** What to put before a program so that it runs there: a process cannot enter a namespace itself. */
  readonly under: readonly string[];
  /** Pulls the cable at the switch: the adapter stays, without a carrier. */
  cut(): Promise<void>;
  mend(): Promise<void>;
  /** Takes the adapter out of the machine, as a USB one is. */
  unplug(): Promise<void>;
  /** Puts one in, by the same name. */
  plug(): Promise<void>;
}

/** A switch, and machines on it. Everything is removed at the end, also where the test process ends early. */
export interface Lan<Name extends string> extends AsyncDisposable {
  readonly hosts: Readonly<Record<Name, Host>>;
}

/** Makes a LAN on which IPv6 addresses can be used at once. Needs root and iproute2. */
export async function startLan<Name extends string>(...names: Name[]): Promise<Lan<Name>> {
  await removeStale();
  const number = ++made;
  const nameOf = (role: string) => `${prefix}-${process.pid}-${number}-${role}`;
  const hub = nameOf('switch');
  const all = [hub, ...names.map(nameOf)];
  const remove = () => {
    for (const namespace of all) {
      spawnSync('ip', ['netns', 'del', namespace]);
    }
  };
  process.once('exit', remove);
  await using undo = new AsyncDisposableStack();
  undo.defer(() => {
    process.off('exit', remove);
    remove();
  });
  for (const namespace of all) {
    await addNamespace(namespace);
  }
  await ip('-n', hub, 'link', 'add', 'br0', 'type', 'bridge', 'mcast_snooping', '0', 'forward_delay', '0');
  await ip('-n', hub, 'link', 'set', 'br0', 'up');
  const hosts = {} as Record<Name, Host>;
  for (const [index, name] of names.entries()) {
    const host = hostOf(nameOf(name), hub, `p${index}`);
    await host.plug();
    hosts[name] = host;
  }
  const owned = undo.move();
  return { hosts, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function addNamespace(namespace: string): Promise<void> {
  await ip('netns', 'add', namespace);
  await ip('-n', namespace, 'link', 'set', 'lo', 'up');
  // Without looking for others of the same address first, an address can be used at once.
  const settings = ['all', 'default'].map(which => `net.ipv6.conf.${which}.accept_dad=0`);
  await ip('netns', 'exec', namespace, 'sysctl', '-qw', ...settings);
}

function hostOf(namespace: string, hub: string, port: string): Host {
  return {
    namespace,
    under: ['ip', 'netns', 'exec', namespace],
    cut: () => ip('-n', hub, 'link', 'set', port, 'down'),
    mend: () => ip('-n', hub, 'link', 'set', port, 'up'),
    unplug: () => ip('-n', namespace, 'link', 'del', 'eth0'),
    async plug() {
      await ip('-n', hub, 'link', 'add', port, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', namespace);
      await ip('-n', hub, 'link', 'set', port, 'master', 'br0');
      await ip('-n', hub, 'link', 'set', port, 'up');
      await ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    },
  };
}

/** What a test process that was killed has left behind. */
async function removeStale(): Promise<void> {
  for (const namespace of namespaces()) {
    const pid = Number(new RegExp(`^${prefix}-(\\d+)-`).exec(namespace)?.[1]);
    if (pid > 0 && !isAlive(pid)) {
      await ip('netns', 'del', namespace).catch(() => {});
    }
  }
}

function namespaces(): string[] {
  try {
    return readdirSync('/run/netns');
  } catch {
    return [];
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function ip(...words: string[]): Promise<void> {
  await run('ip', words).catch((error: Error & { stderr?: string }) => {
    throw new Error(`ip ${words.join(' ')}: ${error.stderr || error.message}`, { cause: error });
  });
}
