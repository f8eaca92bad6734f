import { type LookupAddress, Resolver, lookup as systemLookup } from 'node:dns';
import { readFileSync, statSync } from 'node:fs';
import { isIP, isIPv6 } from 'node:net';
import type { Cancel, Clock } from './clock.ts';

type Callback = (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void;

/** All addresses of a name, as `dns.lookup` gives them with `all`; `EAI_AGAIN` where that cannot be known now. */
export type Lookup = (hostname: string, callback: Callback) => void;

export interface NamesParts {
  readonly clock: Clock;
  /** Asks name servers without a thread; made anew now and then, because the system's list of them changes. */
  readonly dns?: () => Pick<Resolver, 'resolve4' | 'resolve6'>;
  /** The system's way, which blocks a thread. */
  readonly system?: Lookup;
  readonly hostsFile?: string;
}

/** ms in which a name is found, or is given up for now. */
const patience = 5000;
/** ms that the addresses of the other family are waited for once there are some. */
const grace = 50;
/** ms for one question to a name server, and how often it is asked. */
const question = { timeout: 1500, tries: 2 };
/** ms after which the list of name servers is read again. */
const listAge = 30_000;
/** Names looked up in the system's way at once, and of those the ones that took long the last time. */
const systemMost = 2;
const slowMost = 1;
/** ms after which a name is one that takes long, and how many such are remembered. */
const slowAfter = 1000;
const slowNames = 256;
/** Bytes of a hosts file that is read here: a longer one is left to the system. */
const longestHosts = 256 * 1024;

interface Question {
  readonly hostname: string;
  readonly callbacks: Callback[];
  readonly cancel: Cancel;
  over: boolean;
}

/**
 * Looks up names without letting one that nobody answers for hold up the others: the hosts file and name servers are asked
 * from the event loop, many names at once, each for 5 s at most. Only what these do not know is looked up in the system's way, two at
 * a time: a dead name server blocks one of the few threads for as long as it likes, whoever still waits for it. Each name
 * is looked up once at a time, and nothing is remembered of what was found.
 */
export function createNames({ clock, ...parts }: NamesParts): Lookup {
  const open = new Map<string, Question>();
  const line = new Set<Question>();
  const slow = new Set<string>();
  const system = parts.system ?? ((hostname, callback) => systemLookup(hostname, { all: true }, callback));
  const hostsFile = parts.hostsFile ?? '/etc/hosts';
  let running = 0;
  let runningSlow = 0;
  let resolver: { readonly dns: Pick<Resolver, 'resolve4' | 'resolve6'>; readonly since: number } | undefined;

  function servers(): Pick<Resolver, 'resolve4' | 'resolve6'> {
    const now = clock.monotonic();
    if (resolver === undefined || now - resolver.since > listAge) {
      resolver = { dns: parts.dns?.() ?? new Resolver(question), since: now };
    }
    return resolver.dns;
  }

  function end(
    asked: Question,
    error: NodeJS.ErrnoException | null,
    addresses: readonly LookupAddress[],
  ): void {
    if (asked.over) {
      return;
    }
    asked.over = true;
    asked.cancel();
    open.delete(asked.hostname);
    line.delete(asked);
    for (const callback of asked.callbacks) {
      callback(error, addresses);
    }
  }

  function askServers(asked: Question): void {
    const found: LookupAddress[] = [];
    const errors: string[] = [];
    let left = 2;
    const answer = (family: 4 | 6) => (error: NodeJS.ErrnoException | null, addresses: readonly string[]) => {
      left -= 1;
      if (asked.over) {
        return;
      }
      found.push(...(addresses ?? []).map(address => ({ address, family })));
      if (error !== null) {
        errors.push(error.code ?? '');
      }
      if (found.length > 0) {
        const tell = () => end(asked, null, found);
        if (left === 0) {
          tell();
        } else {
          clock.after(grace, tell);
        }
      } else if (left > 0) {
        return;
      } else if (errors.some(code => !knowsNot.has(code))) {
        end(asked, failure('EAI_AGAIN', asked.hostname), []);
      } else {
        askSystem(asked);
      }
    };
    const dns = servers();
    dns.resolve4(asked.hostname, answer(4));
    dns.resolve6(asked.hostname, answer(6));
  }

  function askSystem(asked: Question): void {
    line.add(asked);
    next();
  }

  /** Whoever has waited longest goes first, of those there is a place for. */
  function next(): void {
    for (const asked of line) {
      const isSlow = slow.has(asked.hostname);
      if (running < systemMost && (!isSlow || runningSlow < slowMost)) {
        line.delete(asked);
        run(asked, isSlow);
      }
    }
  }

  function run(asked: Question, isSlow: boolean): void {
    const { hostname } = asked;
    const began = clock.monotonic();
    running += 1;
    runningSlow += Number(isSlow);
    const stop = clock.after(slowAfter, () => note(hostname));
    system(hostname, (error, addresses) => {
      stop();
      running -= 1;
      runningSlow -= Number(isSlow);
      if (clock.monotonic() - began < slowAfter) {
        slow.delete(hostname);
      }
      end(asked, error, error === null ? addresses : []);
      next();
    });
  }

  function note(hostname: string): void {
    slow.delete(hostname);
    slow.add(hostname);
    if (slow.size > slowNames) {
      slow.delete(slow.values().next().value as string);
    }
  }

  return (name, callback) => {
    const hostname = name.toLowerCase().replace(/\.$/, '');
    const under = open.get(hostname);
    if (under !== undefined) {
      under.callbacks.push(callback);
      return;
    }
    const asked: Question = {
      hostname,
      callbacks: [callback],
      cancel: clock.after(patience, () => end(asked, failure('EAI_AGAIN', hostname), [])),
      over: false,
    };
    open.set(hostname, asked);
    const known = addressesIn(hostsFile, hostname);
    if (known.length > 0) {
      setImmediate(() => end(asked, null, known));
    } else if (/^[^.]+$|\.local(?:host)?$/.test(hostname)) {
      askSystem(asked);
    } else {
      askServers(asked);
    }
  };
}

/** What a name server says that is there and knows no such name, or that is not there at all: the system may know more. */
const knowsNot: ReadonlySet<string> = new Set([
  'ENOTFOUND',
  'ENODATA',
  'ECONNREFUSED',
  'EBADNAME',
  'ENOTIMP',
]);

function failure(code: string, hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${hostname} cannot be looked up now`), { code });
}

/** The addresses that a hosts file has for a name. */
export function addressesIn(file: string, hostname: string): readonly LookupAddress[] {
  let text = '';
  try {
    if (statSync(file).size <= longestHosts) {
      text = readFileSync(file, 'utf8');
    }
  } catch {
    return [];
  }
  return text.split('\n').flatMap(row => {
    const [address = '', ...names] = row.replace(/#.*/, '').trim().split(/\s+/);
    const isIt = isIP(address) !== 0 && names.some(one => one.toLowerCase() === hostname);
    return isIt ? [{ address, family: isIPv6(address) ? 6 : 4 }] : [];
  });
}

/** The addresses of a name. Rejects with what the lookup says. */
export function addressesOf(hostname: string, lookup: Lookup): Promise<readonly string[]> {
  return new Promise((resolve, reject) =>
    lookup(hostname, (error, addresses) =>
      error === null ? resolve(addresses.map(({ address }) => address)) : reject(error),
    ),
  );
}
