import { LxmfBridge } from '../../../src/bridges/lxmf/bridge.ts';
import type { Address, Message } from '../../../src/gateway/message.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { decodeDeliveryAnnounce, encodeDeliveryAnnounce } from '../../../src/mesh/lxmf/announce.ts';
import { encodeMessage, type LxmfMessage } from '../../../src/mesh/lxmf/message.ts';
import { LxmfRouter } from '../../../src/mesh/lxmf/router.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import {
  type MemoryBridge,
  memoryBridge,
  openTestSwitch,
  type TestSwitch,
  type TestSwitchOptions,
  testHub,
  until,
} from '../../gateway/fixture.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';
import { Ether } from '../../sim/ether.ts';

/** A medium without loss on the machine's own clock: the store behind each hub is a real one. */
export function air(): Ether {
  return new Ether({ clock: systemClock, random: systemRandom, latency: 1, mtu: 2048 });
}

function meshNode(ether: Ether, name: string, identity: Identity) {
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const stop = new AbortController();
  const transport = new Transport({ ...parts, storage: new MemoryStorage(), identity });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
  transport.useLinks(links);
  const router = new LxmfRouter({ ...parts, transport, links });
  const running = transport.attach(ether.join(name)).service.run(() => {}, stop.signal);
  return {
    ...parts,
    transport,
    router,
    async close() {
      router.close();
      links.close();
      await transport.close();
      stop.abort();
      await running;
    },
  };
}

/** A whole hub on a simulated medium: the switch with its store, the LXMF bridge, and a Matrix held in memory. */
export interface SimHub extends AsyncDisposable {
  readonly hub: TestSwitch;
  readonly lxmf: LxmfBridge;
  readonly address: Address;
  readonly matrix: MemoryBridge;
  readonly mqtt: MemoryBridge;
  /** The address a local party has on the mesh. */
  addressOf(party: Address): Address;
  /** What came to an address of this hub's, as it was accepted; waits for it. */
  got(text: string): Promise<Message>;
  /** What was accepted here, oldest first. */
  all(): readonly Message[];
}

/** Opened one after the other on one medium; the announces of the others are heard where they come later. */
export async function openHub(
  ether: Ether,
  name: string,
  options: Pick<TestSwitchOptions, 'rooms' | 'routes' | 'dir'> & { readonly identity?: Identity } = {},
): Promise<SimHub> {
  const identity = options.identity ?? generateIdentity(systemRandom);
  const node = meshNode(ether, name, identity);
  const lxmf = new LxmfBridge({ ...node, identity, hubId: toHex(identity.hash), displayName: name });
  const matrix = memoryBridge('matrix');
  const mqtt = memoryBridge('mqtt');
  const { identity: _, ...rest } = options;
  const hub = await openTestSwitch({
    ...rest,
    hub: { ...testHub, id: toHex(identity.hash), name, lxmf: lxmf.address },
    bridges: [lxmf, matrix, mqtt],
  });
  await Promise.all([matrix.port, mqtt.port]);
  const all = () => [...hub.desk.messages.list(hub.owner, { limit: 200 }).items].reverse();
  return {
    hub,
    lxmf,
    matrix,
    mqtt,
    address: `lxmf:${lxmf.address}`,
    addressOf(party) {
      const [address] = hub.desk.residents().find(one => one.party === party)?.addresses ?? [];
      if (address === undefined) {
        throw new TypeError(`${party} has no address`);
      }
      return address;
    },
    all,
    got: text =>
      until(() => all().find(message => message.text === text), `${name} never got ${JSON.stringify(text)}`),
    async [Symbol.asyncDispose]() {
      await hub[Symbol.asyncDispose]();
      await node.close();
    },
  };
}

/** A handheld with a plain LXMF client: what it was sent, and a way to answer. */
export interface Handheld extends AsyncDisposable {
  readonly address: Address;
  readonly inbox: readonly {
    readonly from: Address;
    readonly id: string;
    readonly content: string;
    readonly message: LxmfMessage;
  }[];
  say(to: Address, text: string, fields?: LxmfMessage['fields']): Promise<void>;
  announce(): Promise<void>;
  /** Whom it has heard, by name. */
  heard(name: string): Address | undefined;
}

export async function openHandheld(ether: Ether, name: string): Promise<Handheld> {
  const identity = generateIdentity(systemRandom);
  const node = meshNode(ether, name, identity);
  const inbox: Handheld['inbox'][number][] = [];
  const names = new Map<string, Address>();
  node.transport.onAnnounce(({ destinationHash, appData }) => {
    const { displayName } = decodeDeliveryAnnounce(appData);
    names.set(displayName ?? '', `lxmf:${toHex(destinationHash)}`);
  });
  const local = node.router.destination({
    identity,
    appData: () => encodeDeliveryAnnounce(name),
    async onMessage({ message, id }) {
      if (!inbox.some(one => one.id === id)) {
        inbox.push({
          from: `lxmf:${toHex(message.source)}`,
          id,
          content: Buffer.from(message.content).toString(),
          message,
        });
      }
    },
  });
  node.router.serve(local);
  return {
    address: `lxmf:${local.key}`,
    inbox,
    heard: wanted => names.get(wanted),
    async announce() {
      await node.transport.announce(local);
    },
    async say(to, text, fields = new Map()) {
      const { packed } = encodeMessage(
        {
          destination: Uint8Array.fromHex(to.slice('lxmf:'.length)),
          source: local.hash,
          timestamp: systemClock.now() / 1000,
          title: new Uint8Array(),
          content: Buffer.from(text),
          fields,
        },
        identity,
      );
      await node.router.send(packed, { signal: AbortSignal.timeout(20_000) });
    },
    [Symbol.asyncDispose]: () => node.close(),
  };
}
