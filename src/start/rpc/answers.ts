import { equal } from '../../lib/bytes.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { Float, type MsgpackValue } from '../../lib/msgpack.ts';
import type { Blackhole } from '../../mesh/reticulum/blackhole.ts';
import type { Path } from '../../mesh/reticulum/path-table.ts';
import type { Transport } from '../../mesh/reticulum/transport.ts';
import type { LiveInterfaces } from '../live-interfaces.ts';
import type { RpcCall } from './call.ts';

export interface AnswersParts {
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Transport;
  readonly blackhole: Blackhole;
  readonly interfaces: Pick<LiveInterfaces, 'attach' | 'detach' | 'reload' | 'get'>;
  /** Whether programs may attach, detach and reload interfaces. */
  readonly mayManage: boolean;
  /** What `rnstatus` shows. */
  readonly status: () => MsgpackValue;
  /** What `rnpath -t` shows. */
  readonly paths: (maxHops: number | undefined) => MsgpackValue;
  /** What `rnpath -r` shows. */
  readonly rates: () => MsgpackValue;
  /** An interface as tools of the reference know it. */
  readonly titleOf: (interfaceName: string) => string;
  /** That of the programs themselves. */
  readonly ownTitle: string;
}

/** Bytes and bit/s that the reference reckons a path request by. */
const packetBits = 500 * 8;
const slowestBitrate = 5;
/** s */
const perHop = 6;

/**
 * What programs of this machine are answered: values in the reference's own units, s and not ms. Rejects only
 * for a bug.
 *
 * Source: RNS 1.5.7, what its programs expect.
 */
export async function answerCall(call: RpcCall, parts: AnswersParts): Promise<MsgpackValue> {
  const { transport, blackhole, titleOf } = parts;
  switch (call.on) {
    case 'interface-stats':
      return parts.status();
    case 'path-table':
      return parts.paths(call.maxHops);
    case 'rate-table':
      return parts.rates();
    case 'next-hop-interface': {
      const path = transport.path(call.destination);
      return path === undefined
        ? transport.local(call.destination) === undefined
          ? 'None'
          : parts.ownTitle
        : titleOf(path.interfaceName);
    }
    case 'next-hop':
      return (
        transport.path(call.destination)?.nextHop ??
        (transport.local(call.destination) === undefined ? null : transport.identity.hash)
      );
    case 'first-hop-timeout':
      return new Float(transport.firstHopTimeout(call.destination) / 1000);
    case 'lowest-bitrate':
      return lowestBitrate(transport) ?? null;
    case 'medium-path-timeout': {
      const bitrate = lowestBitrate(transport);
      return bitrate === undefined
        ? 0
        : new Float((2 * packetBits) / Math.max(bitrate, slowestBitrate) + perHop);
    }
    case 'link-count':
      return [...transport.transitLinks()].length;
    case 'active-link-count':
      return [...transport.transitLinks()].filter(({ proven }) => proven).length;
    case 'quality': {
      const quality = transport.quality(call.packet);
      const value = call.of === 'q' ? undefined : quality?.[call.of];
      return value === undefined ? null : Number.isInteger(value) ? value : new Float(value);
    }
    case 'profiling':
      return null;
    case 'blackholed':
      return blackholedOf(blackhole);
    case 'is-blackholed':
      return blackhole.has(call.identity);
    case 'blackhole': {
      const { identity, until, reason } = call;
      if (blackhole.has(identity)) {
        return null;
      }
      return attempted(parts, async () => (await blackhole.add(identity, { until, reason })) || null);
    }
    case 'unblackhole':
      return attempted(parts, async () => (await blackhole.remove(call.identity)) || null);
    case 'attach':
    case 'detach':
    case 'reload':
      return manage(call, parts);
    case 'drop-path':
      return transport.dropPath(call.destination);
    case 'drop-all-via':
      return dropAll(transport, ({ nextHop }) => equal(nextHop, call.transport));
    case 'drop-announce-queues':
      transport.dropAnnouncesWaiting();
      return null;
    case 'keep-destination': {
      const isKnown = transport.recall(call.destination) !== undefined;
      if (isKnown) {
        transport.use(call.destination);
      }
      return isKnown;
    }
    case 'keep-identity': {
      const its = Iterator.from(transport.known())
        .filter(({ identity }) => equal(identity.hash, call.identity))
        .toArray();
      for (const { destinationHash } of its) {
        transport.use(destinationHash);
      }
      return its.length > 0;
    }
  }
}

/** True where it was done, false where it could not be, nil for a name that nobody has, or that is not in use. */
async function manage(
  { on, name }: { readonly on: 'attach' | 'detach' | 'reload'; readonly name: string },
  parts: AnswersParts,
): Promise<MsgpackValue> {
  const { interfaces, mayManage, log } = parts;
  if (!mayManage) {
    return false;
  }
  const entry = interfaces.get(name);
  if (entry === undefined || (on !== 'attach' && entry.attachment === undefined)) {
    return null;
  }
  log.info({ interface: name }, `a program of this machine asked to ${on} an interface`);
  return attempted(parts, async () => (await interfaces[on](name)) ?? true);
}

/** False where it could not be done, nil where nobody has what is meant. */
async function attempted(
  { counters, log }: AnswersParts,
  work: () => Promise<boolean | null>,
): Promise<boolean | null> {
  try {
    return await work();
  } catch (error) {
    if (!isGatewayError(error)) {
      throw error;
    }
    counters.add(codeOf(error));
    log.warn({ code: error.code, reason: error.message }, 'a program of this machine was refused a change');
    return error.code === 'request/not-found' ? null : false;
  }
}

function blackholedOf(blackhole: Blackhole): MsgpackValue {
  return new Map(
    blackhole.entries().map(({ identityHash, source, until, reason }): [MsgpackValue, MsgpackValue] => [
      identityHash,
      new Map<MsgpackValue, MsgpackValue>([
        ['source', source],
        ['until', until === undefined ? null : new Float(until / 1000)],
        ['reason', reason ?? null],
      ]),
    ]),
  );
}

function lowestBitrate(transport: Transport): number | undefined {
  const used = [...transport.interfaces()].filter(
    ({ sends, policy }) => sends && policy.local !== 'programs',
  );
  return used.length === 0 ? undefined : Math.min(...used.map(({ bitrate }) => Math.round(bitrate)));
}

/** How many there were. */
function dropAll(transport: Transport, isMeant: (path: Path) => boolean): number {
  const meant = Iterator.from(transport.paths()).filter(isMeant).toArray();
  for (const { destinationHash } of meant) {
    transport.dropPath(destinationHash);
  }
  return meant.length;
}
