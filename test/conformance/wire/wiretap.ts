import type { Burden, Interface, InterfacePort, Quality } from '../../../src/mesh/interface.ts';
import type { AccessCode } from '../../../src/mesh/reticulum/access-code.ts';
import { linkIdOf } from '../../../src/mesh/reticulum/link-wire.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';

/** One whole packet that went over an interface, as it travelled. */
export interface Frame {
  /** Counted from 1, over all interfaces. */
  readonly seq: number;
  /** ms epoch */
  readonly at: number;
  readonly interfaceName: string;
  readonly raw: Uint8Array;
}

/** What made a link: its request, and the proof that answered it. */
export interface Handshake {
  request: Uint8Array | undefined;
  proof: Uint8Array | undefined;
}

const framesKept = 1024;
const handshakesKept = 256;

/** Listens between real interfaces and the mesh: notes what passes, and can hand up a packet as if it had come in. */
export class Wiretap {
  readonly #ports = new Map<string, InterfacePort>();
  readonly #handshakes = new Map<string, Handshake>();
  readonly #watchers = new Set<(raw: Uint8Array, interfaceName: string) => boolean>();
  readonly #filters = new Set<(raw: Uint8Array) => boolean>();
  readonly #listeners = new Set<(raw: Uint8Array) => void>();
  readonly #code: AccessCode | undefined;
  #received: Frame[] = [];
  #sent: Frame[] = [];
  #seq = 0;

  /** `code`: what the interfaces seal with. */
  constructor(code: AccessCode | undefined) {
    this.#code = code;
  }

  /** The packet in a frame, which may be sealed with the access code; undefined where it is none. */
  clear(raw: Uint8Array): Uint8Array | undefined {
    try {
      return this.#code?.open(raw) ?? raw;
    } catch {
      return undefined;
    }
  }

  /** The same interface with this tap on it, and on the peers that it finds. */
  on(iface: Interface): Interface {
    const tap = this;
    return {
      name: iface.name,
      mtu: iface.mtu,
      bitrate: iface.bitrate,
      ...(iface.listens === undefined ? {} : { listens: iface.listens }),
      get backlog() {
        return iface.backlog ?? 0;
      },
      async run(port, signal) {
        tap.#ports.set(iface.name, port);
        try {
          await iface.run(
            {
              ready: () => port.ready(),
              receive: (packet, quality) => tap.#receive(iface.name, port, packet, quality),
              attach: peer => port.attach(tap.on(peer)),
            },
            signal,
          );
        } finally {
          tap.#ports.delete(iface.name);
        }
      },
      async send(packet: Uint8Array, burden?: Burden) {
        const raw = new Uint8Array(packet);
        tap.#note(raw);
        const held = [...tap.#watchers].map(watch => watch(raw, iface.name)).includes(true);
        if (!held) {
          await iface.send(packet, burden);
          tap.#sent = keep(tap.#sent, tap.#frame(iface.name, raw));
        }
      },
    };
  }

  /** What came in, the oldest first. */
  get received(): readonly Frame[] {
    return this.#received;
  }

  get sent(): readonly Frame[] {
    return this.#sent;
  }

  get lastSeq(): number {
    return this.#seq;
  }

  /** Interfaces that are running. */
  get running(): readonly string[] {
    return [...this.#ports.keys()];
  }

  /** Hands a packet up as if it had come in over an interface, whose access code it must have. */
  inject(interfaceName: string, raw: Uint8Array, quality?: Quality): void {
    const port = this.#ports.get(interfaceName);
    if (port === undefined) throw new Error(`no interface named ${interfaceName} is running`);
    void port.receive(new Uint8Array(raw), quality);
  }

  /** Sees every packet that is about to leave, until it is cancelled; one it says true of does not. */
  watch(watcher: (raw: Uint8Array, interfaceName: string) => boolean): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Keeps packets that come in from the mesh, until it is cancelled. */
  deafen(filter: (raw: Uint8Array) => boolean): () => void {
    this.#filters.add(filter);
    return () => this.#filters.delete(filter);
  }

  /** Sees every packet that comes in, after the mesh. */
  listen(listener: (raw: Uint8Array) => void): void {
    this.#listeners.add(listener);
  }

  /** What leaves while something is done. `hold`: none of it reaches the medium. */
  async during(act: () => unknown, { hold = false } = {}): Promise<readonly Uint8Array[]> {
    const seen: Uint8Array[] = [];
    const cancel = this.watch(raw => {
      seen.push(raw);
      return hold;
    });
    try {
      await act();
      await new Promise(resolve => setImmediate(resolve));
    } finally {
      cancel();
    }
    return seen;
  }

  /** By link id, hex. */
  handshake(linkKey: string): Handshake | undefined {
    return this.#handshakes.get(linkKey);
  }

  #receive(name: string, port: InterfacePort, packet: Uint8Array, quality: Quality | undefined) {
    const raw = new Uint8Array(packet);
    this.#note(raw);
    if ([...this.#filters].some(filter => filter(raw))) return undefined;
    this.#received = keep(this.#received, this.#frame(name, raw));
    const asked = port.receive(packet, quality);
    for (const listener of this.#listeners) listener(raw);
    return asked;
  }

  #frame(interfaceName: string, raw: Uint8Array): Frame {
    this.#seq += 1;
    return { seq: this.#seq, at: Date.now(), interfaceName, raw };
  }

  /** Links are told apart by what their keys are made of. */
  #note(frame: Uint8Array): void {
    const raw = this.clear(frame);
    try {
      if (raw === undefined) return;
      const packet = decodePacket(raw);
      if (packet.packetType === 'link-request') {
        this.#handshake(linkIdOf(raw, packet.data.length).toHex()).request = packet.data;
      } else if (packet.packetType === 'proof' && packet.context === contexts.linkRequestProof) {
        this.#handshake(packet.destinationHash.toHex()).proof = packet.data;
      }
    } catch {
      // No packet at all.
    }
  }

  #handshake(key: string): Handshake {
    const known = this.#handshakes.get(key) ?? { request: undefined, proof: undefined };
    this.#handshakes.set(key, known);
    if (this.#handshakes.size > handshakesKept) {
      this.#handshakes.delete(this.#handshakes.keys().next().value!);
    }
    return known;
  }
}

function keep(frames: readonly Frame[], frame: Frame): Frame[] {
  return [...frames.slice(1 - framesKept), frame];
}
