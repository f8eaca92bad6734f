import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { type Random, systemRandom } from '../../../src/lib/random.ts';
import { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import type { Attachment } from '../../../src/mesh/reticulum/attachment.ts';
import type { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { decodeIdentity, generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import type {
  AnnouncePolicy,
  InterfaceMode,
  InterfacePolicy,
} from '../../../src/mesh/reticulum/interface-policy.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { BridgeClock, settled } from '../clock.ts';
import type { Params } from '../command.ts';
import { createHandles } from '../handles.ts';
import { MockInterface } from '../mock-interface.ts';
import { bytesIf, flagOf, integerIf, numberIf, textIf, textOf } from '../params.ts';
import { Blackholes } from './blackholes.ts';
import type { HeldAnnounces } from './held-announces.ts';

/** An interface of a node, with its far end in the test's hands. */
export interface Mock {
  readonly id: string;
  readonly iface: MockInterface;
  readonly attachment: Attachment;
  stop: AbortController;
}

/** Calls of a listener for announces. */
export interface Recording {
  readonly calls: Record<string, unknown>[];
  readonly registered: boolean;
}

/** A node on mock interfaces, with a clock and dice that the test may turn. */
export interface Instance {
  readonly transport: Transport;
  readonly clock: BridgeClock;
  readonly counters: Counters;
  readonly random: LoadedRandom;
  readonly mocks: Map<string, Mock>;
  readonly deliveries: Map<string, Uint8Array[]>;
  readonly destinations: LocalDestination[];
  readonly recordings: Map<string, Recording>;
  readonly blackholes: Blackholes;
  /** Announces that time stands still for, by destination: s epoch at which the test wants them to leave. */
  readonly frozen: Map<string, { readonly state: object; readonly timeout: number }>;
  /** Gates of interfaces that hold announces. */
  readonly held: Map<string, HeldAnnounces>;
  /** Whether it uses another node of this machine as its instance. */
  readonly isProgram: boolean;
  /** What interfaces have that say nothing else. */
  readonly defaults: Params;
  /** Monotonic ms to which the next look at the tables sets the clock. */
  due: number | undefined;
  made: number;
}

/** Chance, but the next bytes of a length may be chosen. */
export interface LoadedRandom extends Random {
  load(bytes: Uint8Array): void;
}

const instances = createHandles<Instance>('instance');

export const instanceOf = (params: Params): Instance => instances.of(params);

/** The interface that a param names. */
export function mockOf(params: Params, name = 'iface_id'): Mock {
  const id = textOf(params, name);
  const mock = instanceOf(params).mocks.get(id);
  if (mock === undefined) throw new Error(`there is no interface ${id}`);
  return mock;
}

/** Which interface of the test's an interface of the node is. */
export function idOf(instance: Instance, iface: { readonly name: string } | undefined): string | null {
  return [...instance.mocks.values()].find(mock => mock.iface.name === iface?.name)?.id ?? null;
}

/** s epoch of the machine's clock for ms epoch of the instance's. */
export const epochOf = ({ clock }: Instance, time: number): number => (time - clock.ahead) / 1000;

/** s epoch of the machine's clock for a monotonic ms of the instance's. */
export const epochAt = ({ clock }: Instance, time: number): number =>
  (Date.now() + time - clock.monotonic()) / 1000;

export function startInstance(params: Params): { handle: string; instance: Instance } {
  const seed = bytesIf(params, 'identity_seed');
  const clock = new BridgeClock();
  const counters = new Counters();
  const random = loadedRandom();
  const identity = seed ? decodeIdentity(seed) : generateIdentity(systemRandom);
  const blackholes = new Blackholes({ clock, counters, own: identity.hash });
  const transport = new Transport({
    clock,
    random,
    log: silentLog,
    counters,
    storage: new MemoryStorage(),
    identity,
    blackhole: blackholes,
    forwards: flagOf(params, 'enable_transport', true),
    sharedInstance: true,
  });
  // Takes itself to the transport, as a hub's does.
  transport.useLinks(
    new Links({ clock, random, log: silentLog, counters, transport, budget: new IncomingBudget() }),
  );
  const instance: Instance = {
    transport,
    clock,
    counters,
    random,
    mocks: new Map(),
    deliveries: new Map(),
    destinations: [],
    recordings: new Map(),
    blackholes,
    frozen: new Map(),
    held: new Map(),
    isProgram: flagOf(params, 'connected_to_shared_instance', false),
    defaults: params,
    due: undefined,
    made: 0,
  };
  return { handle: instances.add(instance), instance };
}

export async function stopInstance(params: Params): Promise<boolean> {
  const instance = instances.take(params);
  if (instance !== undefined) await close(instance);
  return instance !== undefined;
}

export async function closeInstances(): Promise<void> {
  await Promise.all(instances.all().map(close));
}

async function close({ mocks, transport, clock }: Instance): Promise<void> {
  for (const { stop } of mocks.values()) stop.abort();
  await transport.close();
  clock.close();
}

export async function attachMock(params: Params): Promise<Mock> {
  const instance = instanceOf(params);
  instance.made += 1;
  const id = `iface-${instance.made}`;
  const iface = new MockInterface({
    name: textOf(params, 'name'),
    mtu: integerIf(params, 'mtu') ?? 500,
    bitrate: numberIf(params, 'bitrate') ?? numberIf(instance.defaults, 'bitrate') ?? 10_000_000,
    now: () => instance.clock.monotonic(),
  });
  const attachment = instance.transport.attach(iface, policyOf(instance, params));
  const mock = { id, iface, attachment, stop: new AbortController() };
  instance.mocks.set(id, mock);
  await bringUp(mock);
  return mock;
}

/** Its medium is open from now on, anew where it was before. */
export async function bringUp(mock: Mock): Promise<void> {
  mock.stop.abort();
  await settled();
  mock.stop = new AbortController();
  mock.attachment.service.run(() => {}, mock.stop.signal).catch(() => {});
  await settled();
}

const modes: Readonly<Record<string, InterfaceMode>> = {
  FULL: 'full',
  POINT_TO_POINT: 'point-to-point',
  ACCESS_POINT: 'access-point',
  ROAMING: 'roaming',
  BOUNDARY: 'boundary',
  GATEWAY: 'gateway',
};

function policyOf({ defaults, isProgram }: Instance, params: Params): InterfacePolicy {
  const isOfProgram = flagOf(params, 'local_client', false);
  const networkName = textIf(params, 'ifac_netname');
  const passphrase = textIf(params, 'ifac_netkey');
  const size = integerIf(params, 'ifac_size') ?? 16;
  return {
    mode: modes[textIf(params, 'mode') ?? 'FULL'] ?? 'full',
    announce: announceOf(params, defaults),
    ...(isOfProgram && { local: 'programs' }),
    ...(isProgram && { local: 'instance' }),
    ...((networkName ?? passphrase) !== undefined && {
      accessCode: new AccessCode({ networkName, passphrase, size }),
    }),
  };
}

/** An interface that says nothing of rates does not limit them, which is not what ours do by themselves. */
function announceOf(params: Params, defaults: Params): AnnouncePolicy {
  const knob = (name: string) => numberIf(params, name) ?? numberIf(defaults, name);
  const cap = knob('announce_cap');
  return {
    rateTarget: (knob('announce_rate_target') ?? 0) * 1000,
    rateGrace: knob('announce_rate_grace') ?? 0,
    ratePenalty: (knob('announce_rate_penalty') ?? 0) * 1000,
    ...(cap !== undefined && { cap }),
  };
}

/** Lets an announce wait a while before it is passed on, so that the test is sooner. */
const leastFraction = 0.98;

function loadedRandom(): LoadedRandom {
  let loaded: Uint8Array | undefined;
  return {
    bytes: length => {
      const chosen = loaded?.length === length ? loaded : undefined;
      if (chosen) loaded = undefined;
      return chosen ?? systemRandom.bytes(length);
    },
    fraction: () => leastFraction + systemRandom.fraction() * (1 - leastFraction),
    load: bytes => {
      loaded = bytes;
    },
  };
}
