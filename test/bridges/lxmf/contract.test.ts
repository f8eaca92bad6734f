import { LxmfBridge } from '../../../src/bridges/lxmf/bridge.ts';
import { toHex } from '../../../src/lib/bytes.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import type { Interface, InterfacePort } from '../../../src/mesh/interface.ts';
import { encodeDeliveryAnnounce } from '../../../src/mesh/lxmf/announce.ts';
import { encodeMessage } from '../../../src/mesh/lxmf/message.ts';
import { LxmfRouter } from '../../../src/mesh/lxmf/router.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { IncomingBudget } from '../../../src/mesh/reticulum/incoming-budget.ts';
import { Links } from '../../../src/mesh/reticulum/links.ts';
import { Transport } from '../../../src/mesh/reticulum/transport.ts';
import { bridgeContract, type FarSide } from '../../contract/bridge.ts';
import { MemoryStorage } from '../../mesh/reticulum/memory-storage.ts';

/** One end of a wire without length. */
class WireEnd implements Interface {
  readonly name = 'wire';
  readonly mtu = 262_144;
  readonly bitrate = 10_000_000;
  other: WireEnd | undefined;
  port: InterfacePort | undefined;

  async run(port: InterfacePort, signal: AbortSignal): Promise<void> {
    this.port = port;
    port.ready();
    await new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
    this.port = undefined;
  }

  async send(packet: Uint8Array): Promise<void> {
    const bytes = packet.slice();
    setImmediate(() => void this.other?.port?.receive(bytes));
  }
}

function meshNode(wire: WireEnd, signal: AbortSignal) {
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const storage = new MemoryStorage();
  const transport = new Transport({ ...parts, storage, identity: generateIdentity(systemRandom) });
  const links = new Links({ ...parts, transport, budget: new IncomingBudget() });
  transport.useLinks(links);
  const running = transport.attach(wire).service.run(() => {}, signal);
  const router = new LxmfRouter({ ...parts, transport, links });
  return { ...parts, transport, links, router, running, identity: generateIdentity(systemRandom) };
}

/** A bridge and a peer with a wire between them; the peer drops a repeat, as LXMF clients do. */
async function farSide(): Promise<FarSide> {
  const stop = new AbortController();
  const [here, there] = [new WireEnd(), new WireEnd()];
  here.other = there;
  there.other = here;
  const hub = meshNode(here, stop.signal);
  const peer = meshNode(there, stop.signal);
  const texts = new Map<string, string>();
  const local = peer.router.destination({
    identity: peer.identity,
    appData: () => encodeDeliveryAnnounce('Peer'),
    onMessage: async ({ id, message }) => {
      texts.set(id, new TextDecoder().decode(message.content));
    },
  });
  peer.router.serve(local);
  const bridge = new LxmfBridge({ ...hub, hubId: toHex(hub.transport.identity.hash), displayName: 'Hub' });
  const heard = Promise.withResolvers<void>();
  hub.transport.onAnnounce(() => heard.resolve());
  await peer.transport.announce(local);
  await heard.promise;
  return {
    bridge,
    to: `lxmf:${local.key}`,
    arrived: () => [...texts.values()],
    async say(text) {
      const { packed } = encodeMessage(
        {
          destination: Uint8Array.fromHex(bridge.address),
          source: local.hash,
          timestamp: systemClock.now() / 1000,
          title: new Uint8Array(),
          content: new TextEncoder().encode(text),
          fields: new Map(),
        },
        peer.identity,
      );
      await peer.router.send(packed, { signal: stop.signal });
    },
    async [Symbol.asyncDispose]() {
      for (const node of [hub, peer]) {
        node.router.close();
        node.links.close();
        await node.transport.close();
      }
      stop.abort();
      await Promise.all([hub.running, peer.running]);
    },
  };
}

bridgeContract('LXMF', farSide);
