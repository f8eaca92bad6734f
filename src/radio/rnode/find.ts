import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import { KissDeframer, kissFrame } from '../framing/kiss.ts';
import type { OpenSerial, SerialLink } from '../serial.ts';
import { detectFrames, isDetected } from './device.ts';

/** Where serial ports are found. */
const byId = '/dev/serial/by-id';
const devices = '/dev';
/** ms that a port is given to say that it is an RNode; some boards restart when they are opened, and take 2 s for it. */
const patience = 4000;
const askEvery = 1000;
/** ms after which a port that is something else is asked again though nobody pulled it. */
const askAgain = 600_000;
const mostPorts = 16;

export interface FindParts {
  readonly clock: Clock;
  readonly open: OpenSerial;
  /** Paths of the ports there are. Default those of the system. */
  readonly list?: () => Promise<readonly string[]>;
}

/**
 * Looks for an RNode among the serial ports: each is asked whether it is one, and nothing else is
 * written to it, because the same USB chips are in receivers of satellites and Zigbee sticks. A port
 * that is none is left alone until it is plugged anew.
 */
export class PortFinder {
  readonly #parts: FindParts;
  /** Ports that are something else, as they were. */
  readonly #others = new Map<string, { readonly mark: string; readonly at: number }>();
  #last: string | undefined;

  constructor(parts: FindParts) {
    this.#parts = parts;
  }

  /** An open line to an RNode; undefined where the signal came first. Rejects with `radio/offline`, in words. */
  async find(signal: AbortSignal): Promise<SerialLink | undefined> {
    const { list = serialPorts } = this.#parts;
    const ports = [...(await list())].sort((a, b) => Number(b === this.#last) - Number(a === this.#last));
    const said: string[] = [];
    for (const path of ports.slice(0, mostPorts)) {
      if (signal.aborted) {
        return undefined;
      }
      const found = await this.#ask(path, signal);
      if (typeof found !== 'string') {
        this.#last = path;
        return found;
      }
      said.push(found);
    }
    const seen = said.length === 0 ? `no serial port in ${byId}, ttyACM* or ttyUSB*` : said.join('; ');
    throw new GatewayError('radio/offline', `no RNode found: ${seen}`, { retryable: true });
  }

  /** The line, or why this port is none. */
  async #ask(path: string, signal: AbortSignal): Promise<SerialLink | string> {
    const { clock, open } = this.#parts;
    const mark = await markOf(path);
    const other = this.#others.get(path);
    if (other?.mark === mark && clock.monotonic() < other.at + askAgain) {
      return `${path} is something else`;
    }
    let link: SerialLink;
    try {
      link = await open(path);
    } catch (error) {
      if (isGatewayError(error)) {
        return error.message;
      }
      throw error;
    }
    if (await isRNode(link, clock, signal)) {
      this.#others.delete(path);
      return link;
    }
    await link.close();
    if (!signal.aborted) {
      this.#others.set(path, { mark, at: clock.monotonic() });
    }
    return `${path} does not answer like an RNode`;
  }
}

/** Whether an RNode answers on the line, which is left open. Whoever listens next hears all that comes later. */
async function isRNode(link: SerialLink, clock: Clock, signal: AbortSignal): Promise<boolean> {
  const over = new AbortController();
  const found = Promise.withResolvers<boolean>();
  const deframer = new KissDeframer();
  link.onData(chunk => {
    if (deframer.feed(chunk).some(isDetected)) {
      found.resolve(true);
    }
  });
  const give = () => found.resolve(false);
  signal.addEventListener('abort', give, { once: true });
  void link.closed.then(give);
  void ask(link, clock, over.signal).then(give, give);
  try {
    return await found.promise;
  } finally {
    over.abort();
    signal.removeEventListener('abort', give);
  }
}

async function ask(link: SerialLink, clock: Clock, signal: AbortSignal): Promise<void> {
  const [detect] = detectFrames;
  for (let asked = 0; asked < patience; asked += askEvery) {
    await link.write(kissFrame(detect!.command, detect!.data));
    await clock.sleep(askEvery, signal);
  }
}

/** Another when the port is plugged anew. */
async function markOf(path: string): Promise<string> {
  try {
    const { ino, ctimeMs } = await stat(path);
    return `${ino} ${ctimeMs}`;
  } catch {
    return '';
  }
}

/** The serial ports that USB devices are on: by their names where the system gives them some. */
export async function serialPorts(): Promise<readonly string[]> {
  const named = (await names(byId)).sort().map(name => join(byId, name));
  const known = new Set(await Promise.all(named.map(path => realpath(path).catch(() => path))));
  const bare = (await names(devices))
    .filter(name => /^tty(?:ACM|USB)\d+$/.test(name))
    .sort()
    .map(name => join(devices, name));
  return [...named, ...bare.filter(path => !known.has(path))];
}

async function names(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
