import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { type ErrorCode, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import { InterfaceAllowances } from './allowance.ts';
import { destinationHash, LocalDestination, nameHash } from './destination.ts';
import type { Identity } from './identity.ts';
import { encryptedMdu } from './packet.ts';
import type { ReceiptOutcome } from './receipts.ts';
import type { Transport } from './transport.ts';

/**
 * Probes: packets of random bytes to a destination that proves whatever it gets, so that the proof shows that it
 * is there and how long the way is. Every node may have one of its own, `rnstransport.probe`, under the identity
 * it forwards by.
 *
 * Source: Reticulum manual, “The rnprobe Utility”; checked against RNS 1.5.7 (test/interop/management.test.ts).
 */
export const transportApp = 'rnstransport';
/** ms until link requests of tools are answered: they listen for the answer only after they have asked, and would miss one that is faster. */
export const toolPatience = 25;
const probeAspects = ['probe'];

/** Share of an interface's bitrate that answers to probes may take, and bytes at once: some eight answers. */
const answerShare = 0.05;
const answerBurst = 1024;
/** Bytes of a proof. */
const answerLength = 83;

/** What keeps answers to probes few. */
export interface Sparing {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly transport: Pick<Transport, 'interfaces'>;
}

/**
 * The destination of ours that answers probes: to be registered and announced. With `sparing` what strangers can make
 * us send that way is a small part of the interface it goes over; without, every probe is answered.
 */
export function probeResponder(identity: Identity, sparing?: Sparing): LocalDestination {
  const own = { identity, appName: transportApp, aspects: probeAspects };
  if (sparing === undefined) {
    return new LocalDestination({ ...own, proofStrategy: 'all' });
  }
  const { clock, counters, transport } = sparing;
  const allowances = new InterfaceAllowances(clock, answerShare, second => Math.max(answerBurst, second));
  return new LocalDestination({
    ...own,
    proofStrategy: 'app',
    onPacket({ interfaceName, prove }) {
      const over = [...transport.interfaces()].find(({ name }) => name === interfaceName);
      const may = over !== undefined && allowances.take(over, answerLength);
      counters.add(may ? 'probe/answered' : 'probe/too-many');
      if (may) {
        prove();
      }
    },
  });
}

/** Where a node of this identity (hash, 16 B) answers probes, if it does. */
export function probeDestinationOf(identityHash: Uint8Array): Uint8Array {
  return destinationHash(nameHash(`${transportApp}.${probeAspects.join('.')}`), identityHash);
}

export interface ProbeRequest {
  /** 16 B. */
  readonly destination: Uint8Array;
  /** How many, one after the other; 1 to 64. */
  readonly count: number;
  /** Random bytes in each; 1 to 383. */
  readonly size: number;
  /** ms to wait for each proof; by default what hops and media allow for. */
  readonly timeout?: number | undefined;
  /** ms from one answer, or the end of the wait for it, to the next probe. */
  readonly pause?: number | undefined;
  readonly signal?: AbortSignal;
}

/** What became of one probe. */
export interface ProbeResult {
  /** ms; undefined where no proof came. */
  readonly rtt: number | undefined;
  /** Why none came. */
  readonly code?: ErrorCode;
  /** dBm and dB of the proof as our own radio heard it. */
  readonly rssi?: number;
  readonly snr?: number;
}

export interface ProbeReport {
  readonly destination: Uint8Array;
  readonly hops: number;
  readonly interfaceName: string;
  /** 16 B: who is next on the way; the destination where it is a neighbour. */
  readonly nextHop: Uint8Array;
  readonly results: readonly ProbeResult[];
}

export interface ProbeParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly transport: Pick<Transport, 'requestPath' | 'recall' | 'path' | 'send'>;
}

/** Probes at once of one call. */
export const probesMost = 64;

/**
 * Finds the way to a destination, asking the mesh where none is known, and probes it. Rejects with `mesh/no-path`
 * and `radio/offline`, retryable, where there is nothing to probe, and with the signal's reason. A probe that gets
 * no answer is a result.
 */
export async function probe(request: ProbeRequest, parts: ProbeParts): Promise<ProbeReport> {
  const { clock, transport } = parts;
  const { destination, count, size, pause = 0, signal } = request;
  if (count < 1 || count > probesMost || size < 1 || size > encryptedMdu) {
    throw new GatewayError('request/invalid', `1 to ${probesMost} probes of 1 to ${encryptedMdu} bytes`);
  }
  const path = await orAborted(transport.requestPath(destination), signal);
  const known = transport.recall(destination);
  if (known === undefined) {
    throw new GatewayError('mesh/no-path', `nothing is known of ${toHex(destination)}`, { retryable: true });
  }
  const results: ProbeResult[] = [];
  while (results.length < count) {
    signal?.throwIfAborted();
    if (results.length > 0 && pause > 0) {
      await clock.sleep(pause, signal);
    }
    results.push(await orAborted(one(known, request, parts), signal));
  }
  const { hops, interfaceName, nextHop } = transport.path(destination) ?? path;
  return { destination, hops, interfaceName, nextHop, results };
}

async function one(
  known: NonNullable<ReturnType<Transport['recall']>>,
  { destination, size, timeout }: ProbeRequest,
  { random, transport }: ProbeParts,
): Promise<ProbeResult> {
  const { promise, resolve } = Promise.withResolvers<ReceiptOutcome>();
  try {
    await transport.send({
      destination: { identity: known.identity, hash: destination },
      data: random.bytes(size),
      ...(timeout !== undefined && { timeout }),
      onReceipt: resolve,
    });
  } catch (error) {
    if (isGatewayError(error, 'radio/offline')) {
      return { rtt: undefined, code: error.code };
    }
    throw error;
  }
  const outcome = await promise;
  if (outcome.at === 'failed') {
    return { rtt: undefined, code: outcome.code };
  }
  const { rssi, snr } = outcome.quality ?? {};
  return { rtt: outcome.rtt, ...(rssi !== undefined && { rssi }), ...(snr !== undefined && { snr }) };
}

/** The promise, or the signal's reason where that comes first; what the promise says then is nobody's. */
function orAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) {
    return promise;
  }
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) {
      abort();
    }
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
