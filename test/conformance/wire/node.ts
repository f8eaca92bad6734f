import { createCompressor } from '../../../src/lib/bzip2/pool.ts';
import { type Clock, systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { createLog, silentLog } from '../../../src/lib/log.ts';
import { supervise } from '../../../src/lib/service.ts';
import type { Interface } from '../../../src/mesh/interface.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import type { Attachment } from '../../../src/mesh/reticulum/attachment.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import type { InterfacePolicy } from '../../../src/mesh/reticulum/interface-policy.ts';
import type { Compressor } from '../../../src/mesh/reticulum/link-port.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import type { Params } from '../command.ts';
import { createHandles } from '../handles.ts';
import { type Managed, manage } from './managed.ts';
import { RecordedRandom } from './recorded-random.ts';
import type { NodeSettings } from './settings.ts';
import { sleep, until } from './waiting.ts';
import { Wiretap } from './wiretap.ts';

/** The machine's clock, which a test may set forward. */
export interface MovableClock extends Clock {
  /** ms that `now` is ahead of the machine. */
  ahead: number;
  /** Notes from now on the delays, ms, that it is asked to call back after; what is returned tells and stops. */
  watch(): () => readonly number[];
}

/** One whole Reticulum node of ours, as the daemon puts it together, with a tap on its interfaces. */
export interface Node {
  readonly handle: string;
  readonly identity: Identity;
  readonly isShared: boolean;
  readonly isProgram: boolean;
  readonly transport: Transport;
  readonly links: Links;
  readonly compressor: Compressor;
  readonly clock: MovableClock;
  readonly random: RecordedRandom;
  readonly storage: MemoryStorage;
  readonly counters: Counters;
  readonly wire: Wiretap;
  /** Shared by its interfaces and the peers they find. */
  readonly policy: { -readonly [Key in keyof InterfacePolicy]: InterfacePolicy[Key] };
  /** What was configured: read back by tests of the configuration. */
  readonly settings: NodeSettings;
  /** Where its server listens, if it has one. */
  port: (() => number | undefined) | undefined;
  /** What it is for its own sake: answers of probes, and remote management. */
  readonly managed: Map<string, Managed>;
  /** `policy`: the node's own where none is given. */
  attach(iface: Interface, policy?: InterfacePolicy): Attachment;
  stop(): Promise<void>;
}

/** How programs of this machine and their instance share one node. */
export interface Sharing {
  /** Programs of this machine use it. */
  readonly isShared?: boolean;
  /** It is a program that uses another node. */
  readonly isProgram?: boolean;
}

const nodes = createHandles<Node>('node', 8);
const running = new Map<string, Node>();

export function createNode(
  settings: NodeSettings,
  { isShared = false, isProgram = false }: Sharing = {},
): Node {
  const clock = movableClock();
  const random = new RecordedRandom();
  const log = process.env.KOS_BRIDGE_LOG === undefined ? silentLog : createLog('trace');
  const counters = new Counters();
  const storage = new MemoryStorage();
  const identity = generateIdentity(random);
  const { forwards, mode, networkName, passphrase, ifacSize } = settings;
  const parts = { clock, random, log, counters, storage };
  const transport = new Transport({ ...parts, identity, forwards, sharedInstance: isShared });
  const compressor = createCompressor({ clock });
  const links = new Links({ ...parts, transport, compressor, budget: new IncomingBudget() });
  transport.useLinks(links);
  const sealed = Boolean(networkName || passphrase);
  const policy: Node['policy'] = {
    mode,
    ...(sealed ? { accessCode: new AccessCode({ networkName, passphrase, size: ifacSize }) } : {}),
  };
  const wire = new Wiretap(policy.accessCode);
  const stopping = new AbortController();
  const services: Promise<void>[] = [];
  const node: Omit<Node, 'handle'> = {
    identity,
    isShared,
    isProgram,
    managed: manage(settings, { identity, transport, links }),
    transport,
    links,
    compressor,
    clock,
    random,
    storage,
    counters,
    wire,
    policy,
    settings,
    port: undefined,
    attach(iface, own = policy) {
      const attachment = transport.attach(wire.on(iface), own);
      const { signal } = stopping;
      services.push(supervise(attachment.service, { clock, random, log, signal, longestDelay: 2000 }));
      return attachment;
    },
    async stop() {
      if (stopping.signal.aborted) return;
      links.close();
      // The other ends are told before the connections go.
      await sleep(100);
      stopping.abort();
      await Promise.allSettled(services);
      await transport.close();
      await compressor.close();
    },
  };
  const handle = nodes.add(node as Node);
  const whole = Object.assign(node, { handle });
  running.set(handle, whole);
  return whole;
}

function movableClock(): MovableClock {
  const watchers = new Set<number[]>();
  const clock: MovableClock = {
    ...systemClock,
    ahead: 0,
    now: () => systemClock.now() + clock.ahead,
    after(delay, callback) {
      for (const delays of watchers) delays.push(delay);
      return systemClock.after(delay, callback);
    },
    watch() {
      const delays: number[] = [];
      watchers.add(delays);
      return () => {
        watchers.delete(delays);
        return delays;
      };
    },
  };
  return clock;
}

export function nodeOf(params: Params): Node {
  return nodes.of(params);
}

export function takeNode(params: Params): Node | undefined {
  return nodes.take(params);
}

export async function stopAll(): Promise<void> {
  await Promise.allSettled([...running.values()].map(node => node.stop()));
}

/** Waits until an interface is up. */
export async function up(attachment: Attachment, timeout: number): Promise<void> {
  if (!(await until(() => attachment.online, timeout))) {
    throw new Error(`${attachment.name} did not come up in ${timeout} ms`);
  }
}
