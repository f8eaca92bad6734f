import { toHex } from '../../lib/bytes.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Burden } from '../interface.ts';
import { groupKeyOf } from './destination.ts';
import type { InterfaceHandle } from './dispatch.ts';
import type { Duplicates } from './duplicates.ts';
import type { PublicIdentity } from './identity.ts';
import type { KnownDestinations } from './known.ts';
import { isFar } from './local-hops.ts';
import { contexts, encodePacket, encryptedMdu, type Packet, packetHash, packetMdu } from './packet.ts';
import type { Path } from './path-table.ts';
import type { ReceiptOutcome, Receipts } from './receipts.ts';
import { sealToken, tokenBlockLength, tokenIvLength, tokenOverhead } from './token.ts';

/** A single packet to a destination of somebody else's. */
export interface Outgoing {
  readonly destination: {
    readonly identity: PublicIdentity;
    /** 16 B. */
    readonly hash: Uint8Array;
  };
  /** At most 383 B, at least 1. */
  readonly data: Uint8Array;
  /** Default none. */
  readonly context?: number;
  /** ms to wait for the proof; default by hops and bitrate. */
  readonly timeout?: number;
  /**
   * What became of it, told exactly once if the packet was sent. Without it no proof is waited for, and none ever
   * is of a packet in a context of links or Resources: nobody proves those.
   */
  readonly onReceipt?: (outcome: ReceiptOutcome) => void;
}

/** A group, as whoever has its key can write to it. */
export interface Group {
  /** 16 B. */
  readonly hash: Uint8Array;
  /** 64 B, or 32 of old. */
  readonly key: Uint8Array;
}

/** Bytes that a packet to a group carries sealed. */
export const groupMdu = Math.floor((packetMdu - tokenOverhead) / tokenBlockLength) * tokenBlockLength - 1;

/** Which way a packet goes, and how long its proof may take that way, ms. */
export interface Way {
  readonly path: Path | undefined;
  readonly target: InterfaceHandle | 'all';
  readonly timeout: number;
}

export interface SenderParts {
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly heard: Duplicates;
  readonly known: KnownDestinations;
  readonly receipts: Receipts;
  readonly wayTo: (destination: Uint8Array) => Way;
  readonly transmit: (
    packet: Uint8Array,
    target: InterfaceHandle | 'all',
    burden?: Burden,
  ) => Promise<boolean>;
}

/** Sends packets that stand for themselves: sealed for one destination, or plain for whoever hears them. */
export class Sender {
  readonly #parts: SenderParts;

  constructor(parts: SenderParts) {
    this.#parts = parts;
  }

  /** See `Transport.send`. */
  async send(outgoing: Outgoing): Promise<Uint8Array> {
    const { random, heard, known, receipts, transmit } = this.#parts;
    const { destination, data, context = contexts.none } = outgoing;
    const onReceipt = isProven(context) ? outgoing.onReceipt : undefined;
    if (data.length === 0 || data.length > encryptedMdu) {
      throw new GatewayError('mesh/too-large', `${data.length} bytes, a packet carries 1 to ${encryptedMdu}`);
    }
    const key = toHex(destination.hash);
    const sealed = destination.identity.encrypt(data, random, known.get(key)?.ratchet);
    const { path, target, timeout } = this.#parts.wayTo(destination.hash);
    const bytes = encodePacket({
      ...header('single', destination.hash, path, target),
      context,
      data: sealed,
    });
    const hash = packetHash(bytes);
    heard.add(hash);
    if (onReceipt) {
      receipts.add({
        hash,
        timeout: outgoing.timeout ?? timeout,
        verify: signature => destination.identity.verify(signature, hash),
        verifyBeside: (threads, signature, done) =>
          destination.identity.verifyBeside(threads, signature, hash, done),
        conclude: outcome => this.#conclude(onReceipt, outcome),
      });
    }
    const taken = await transmit(bytes, target);
    if (!taken && (onReceipt === undefined || receipts.withdraw(hash))) {
      throw new GatewayError('radio/offline', 'no interface took the packet', { retryable: true });
    }
    return hash;
  }

  /** See `Transport.sendPlain`. */
  async sendPlain(
    destination: Uint8Array,
    data: Uint8Array,
    target: InterfaceHandle | 'all',
    burden?: Burden,
  ): Promise<boolean> {
    if (data.length === 0) {
      throw new GatewayError('wire/malformed', 'data: empty');
    }
    if (data.length > packetMdu) {
      throw new GatewayError('mesh/too-large', `${data.length} bytes, a plain packet carries ${packetMdu}`);
    }
    const bytes = encodePacket({ ...header('plain', destination, undefined, target), data });
    this.#parts.heard.add(packetHash(bytes));
    return this.#parts.transmit(bytes, target, burden);
  }

  /** See `Transport.sendGroup`. */
  async sendGroup(group: Group, data: Uint8Array, target: InterfaceHandle | 'all'): Promise<boolean> {
    const { random, heard, transmit } = this.#parts;
    if (data.length === 0 || data.length > groupMdu) {
      throw new GatewayError(
        'mesh/too-large',
        `${data.length} bytes, a group's packet carries 1 to ${groupMdu}`,
      );
    }
    const sealed = sealToken(groupKeyOf(group.key), data, random.bytes(tokenIvLength));
    const bytes = encodePacket({ ...header('group', group.hash, undefined, target), data: sealed });
    heard.add(packetHash(bytes));
    return transmit(bytes, target);
  }

  #conclude(onReceipt: (outcome: ReceiptOutcome) => void, outcome: ReceiptOutcome): void {
    try {
      onReceipt(outcome);
    } catch (error) {
      this.#parts.counters.add(codeOf(error));
      this.#parts.log.error({ error }, 'the callback of a receipt failed');
    }
  }
}

function isProven(context: number): boolean {
  const ofResource = context >= contexts.resource && context <= contexts.resourceReceiverCancel;
  return !ofResource && context < contexts.keepalive;
}

/** A data packet as it leaves: in transport where the path leads over another node. */
function header(
  destinationType: 'single' | 'group' | 'plain',
  destinationHash: Uint8Array,
  path: Path | undefined,
  target: InterfaceHandle | 'all',
): Omit<Packet, 'data'> {
  const far = path !== undefined && isFar(path.hops, target === 'all' ? undefined : target);
  return {
    hops: 0,
    transportId: far ? path.nextHop : undefined,
    contextFlag: false,
    propagation: far ? 'transport' : 'broadcast',
    destinationType,
    packetType: 'data',
    destinationHash,
    context: contexts.none,
  };
}
