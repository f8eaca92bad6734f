import { packText } from '../../src/demo/handheld.ts';
import { fromHex, fromUtf8 } from '../../src/lib/bytes.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { isGatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { supervise } from '../../src/lib/service.ts';
import { encodeDeliveryAnnounce } from '../../src/mesh/lxmf/announce.ts';
import type { LocalDestination } from '../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../src/mesh/reticulum/identity.ts';
import { TcpServer } from '../../src/radio/tcp-server.ts';
import { createMesh } from '../../src/start/mesh.ts';
import { MemoryStorage } from '../mesh/reticulum/memory-storage.ts';

/**
 * Somebody on the mesh: a node of our own stack that listens for hubs on TCP, keeps what it was sent by LXMF id, as
 * every LXMF program does, and says the same bytes again until they are proven.
 */
export interface MeshPeer extends AsyncDisposable {
  /** 32 hex. */
  readonly address: string;
  /** Where hubs connect to. */
  readonly port: number;
  /** LXMF id → text, each once however often it came. */
  readonly received: ReadonlyMap<string, string>;
  announce(): Promise<boolean>;
  /** Resolves when the hub has proven it; rejects only with the signal's reason. */
  send(hub: string, text: string, signal: AbortSignal): Promise<void>;
}

export async function startMeshPeer(): Promise<MeshPeer> {
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const identity = generateIdentity(systemRandom);
  const mesh = createMesh({ ...parts, storage: new MemoryStorage(), identity, forwards: false });
  const received = new Map<string, string>();
  const destination: LocalDestination = mesh.router.destination({
    identity,
    appData: () => encodeDeliveryAnnounce('peer'),
    async onMessage({ id, message }) {
      received.set(id, fromUtf8(message.content, 'content'));
    },
  });
  mesh.router.serve(destination);
  const server = new TcpServer({ name: 'server', host: '127.0.0.1', port: 0 }, parts);
  const stop = new AbortController();
  const up = Promise.withResolvers<void>();
  const running = supervise(mesh.transport.attach(server).service, {
    ...parts,
    signal: stop.signal,
    onChange: ({ state }) => state === 'up' && up.resolve(),
  });
  await up.promise;
  return {
    address: destination.key,
    port: Number(server.address?.port),
    received,
    announce: () => mesh.transport.announce(destination),
    async send(hub, text, signal) {
      const to = fromHex(hub);
      const packed = packText(text, { to, from: destination.hash, identity });
      for (let first = true; ; first = false) {
        signal.throwIfAborted();
        const attempt = AbortSignal.any([signal, AbortSignal.timeout(5000)]);
        try {
          await mesh.transport.requestPath(to);
          await mesh.router.send(packed, { signal: attempt, method: first ? 'any' : 'direct' });
          return;
        } catch (error) {
          if (!isGatewayError(error) && !attempt.aborted) {
            throw error;
          }
          await systemClock.sleep(100, signal);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await mesh[Symbol.asyncDispose]();
    },
  };
}
