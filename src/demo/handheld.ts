import { fromUtf8, utf8 } from '../lib/bytes.ts';
import { type Clock, systemClock } from '../lib/clock.ts';
import { Counters } from '../lib/counters.ts';
import { type Log, silentLog } from '../lib/log.ts';
import { systemRandom } from '../lib/random.ts';
import { supervise } from '../lib/service.ts';
import type { Interface } from '../mesh/interface.ts';
import { encodeDeliveryAnnounce } from '../mesh/lxmf/announce.ts';
import { encodeMessage } from '../mesh/lxmf/message.ts';
import type { LocalDestination } from '../mesh/reticulum/destination.ts';
import { generateIdentity, type Identity } from '../mesh/reticulum/identity.ts';
import type { MeshStorage } from '../mesh/storage.ts';
import { createMesh } from '../start/mesh.ts';

/** A person's LXMF device, simulated: it says what it hears and answers it. */
export interface Handheld extends AsyncDisposable {
  /** 32 hex. */
  readonly address: string;
  announce(): Promise<boolean>;
  /** Resolves when the other side has proven it. */
  send(to: Uint8Array, text: string): Promise<void>;
}

/** What a radio is made of. */
export interface RadioParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly storage: MeshStorage;
}

/** Remembers nothing: a demonstration starts anew each time. */
const forgetful: MeshStorage = {
  load: () => [],
  save: async () => {},
  remove: async () => {},
};

/** A node of its own, on the radio that `radio` makes. */
export async function startHandheld(
  name: string,
  radio: (parts: RadioParts) => Interface,
  onText: (text: string, from: Uint8Array) => void,
): Promise<Handheld> {
  const parts = { clock: systemClock, random: systemRandom, log: silentLog, counters: new Counters() };
  const identity = generateIdentity(systemRandom);
  const mesh = createMesh({ ...parts, storage: forgetful, identity, forwards: false });
  const destination: LocalDestination = mesh.router.destination({
    identity,
    appData: () => encodeDeliveryAnnounce(name),
    async onMessage({ message }) {
      onText(fromUtf8(message.content, 'content'), message.source);
    },
  });
  mesh.router.serve(destination);
  const stop = new AbortController();
  const running = supervise(mesh.transport.attach(radio({ ...parts, storage: forgetful })).service, {
    ...parts,
    signal: stop.signal,
  });
  return {
    address: destination.key,
    announce: () => mesh.transport.announce(destination),
    async send(to, text) {
      await mesh.transport.requestPath(to);
      const packed = packText(text, { to, from: destination.hash, identity });
      await mesh.router.send(packed, { signal: stop.signal });
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await running;
      await mesh[Symbol.asyncDispose]();
    },
  };
}

/** A text as it goes over the air, said now and signed. */
export function packText(
  text: string,
  { to, from, identity }: { readonly to: Uint8Array; readonly from: Uint8Array; readonly identity: Identity },
): Uint8Array {
  return encodeMessage(
    {
      destination: to,
      source: from,
      timestamp: systemClock.now() / 1000,
      title: new Uint8Array(),
      content: utf8(text),
      fields: new Map(),
    },
    identity,
  ).packed;
}
