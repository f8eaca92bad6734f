import { toHex } from '../../lib/bytes.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { InterfaceAllowances } from './allowance.ts';
import type { Blackhole, BlackholeEntry } from './blackhole.ts';
import {
  type Blackholed,
  blackholedMost,
  blackholeListLongest,
  blackholeListValue,
  encodeBlackholeList,
  readBlackholeList,
} from './blackhole-wire.ts';
import { destinationHash, LocalDestination, nameHash } from './destination.ts';
import type { Identity } from './identity.ts';
import type { Links } from './links.ts';
import { firstInterface } from './management-announces.ts';
import { toolPatience, transportApp } from './probe.ts';
import { RequestHandlers } from './request.ts';
import type { Transport } from './transport.ts';

/*
 * Blackhole lists are answered to everybody who asks for `/list` on a link to `rnstransport.info.blackhole` of a
 * node, and pulled from those that are believed.
 *
 * Source: RNS 1.5.7, seen by exchanging lists with it (test/interop/management.test.ts).
 */
const aspects = ['info', 'blackhole'];
const listPath = '/list';

/** ms after the first interface is up until the lists are asked for: others have opened theirs by then. */
const firstPull = 5000;
/** ms from one answer of a source to the next question. Source: RNS 1.5.7. */
const pullInterval = 3_600_000;
/** ms until a source that did not answer is asked again. */
const retryAfter = 300_000;

/** Share of an interface's bitrate that lists may take which anybody asks for; bytes at once, or what it is in a minute. */
const listShare = 0.1;
const listBurst = 16_384;

export interface BlackholeServiceParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly identity: Identity;
  readonly transport: Pick<Transport, 'register'>;
  readonly links: Pick<Links, 'accept' | 'get'>;
  readonly blackhole: Blackhole;
}

/**
 * Registers the destination on which our list can be had; it is to be announced. A list too long for the medium it is
 * asked for over is not answered: nobody can make a radio send for an hour.
 */
export function publishBlackhole(parts: BlackholeServiceParts): LocalDestination {
  const { clock, counters, identity, transport, links, blackhole } = parts;
  const allowances = new InterfaceAllowances(clock, listShare, second => Math.max(listBurst, second * 60));
  const destination = new LocalDestination({ identity, appName: transportApp, aspects });
  const handlers = new RequestHandlers();
  let list: { readonly entries: readonly BlackholeEntry[]; readonly bytes: number } | undefined;
  // For as long as the hub runs.
  blackhole.onChange(() => {
    list = undefined;
  });
  handlers.add({
    path: listPath,
    allow: 'all',
    respond({ linkId }) {
      const over = links.get(linkId)?.iface;
      // Made once: who is refused is not to cost more than who refuses.
      list ??= listOf(blackhole);
      if (over === undefined || !allowances.take(over, list.bytes)) {
        counters.add('blackhole/asked-too-much');
        return undefined;
      }
      return {
        value: blackholeListValue(list.entries.filter(({ identityHash }) => blackhole.has(identityHash))),
      };
    },
  });
  transport.register(destination);
  links.accept(destination, {
    onLink: () => ({}),
    handlers,
    maxRequestSize: 1024,
    answerAfter: toolPatience,
  });
  return destination;
}

function listOf(blackhole: Blackhole) {
  const entries = blackhole.entries().slice(0, blackholedMost);
  return { entries, bytes: encodeBlackholeList(entries).length };
}

export interface BlackholeFollowerParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Counters;
  readonly transport: Pick<Transport, 'requestPath' | 'recall' | 'onInterface' | 'interfaces'>;
  readonly links: Pick<Links, 'open'>;
  readonly blackhole: Pick<Blackhole, 'replace'>;
}

/** Pulls the lists of sources (identity hashes, 16 B) every hour until the signal; what fails is tried again after five minutes. */
export async function followBlackholes(
  sources: readonly Uint8Array[],
  parts: BlackholeFollowerParts,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, counters, blackhole, transport } = parts;
  const follow = async (source: Uint8Array) => {
    await firstInterface(transport, signal);
    await clock.sleep(firstPull, signal);
    for (;;) {
      let pause = pullInterval;
      try {
        const list = await pullBlackhole(source, parts, signal);
        await blackhole.replace(source, list);
        log.debug({ source: toHex(source).slice(0, 8), count: list.length }, 'a blackhole list was taken');
      } catch (error) {
        if (signal.aborted) {
          return;
        }
        counters.add('blackhole/list-not-had');
        if (!isGatewayError(error)) {
          log.error({ error }, 'a blackhole list could not be taken');
        }
        log.info({ source: toHex(source).slice(0, 8), code: codeOf(error) }, 'a blackhole list was not had');
        pause = retryAfter;
      }
      await clock.sleep(pause, signal);
    }
  };
  await Promise.allSettled(sources.map(follow));
}

/** The list that a node (identity hash, 16 B) publishes now. Rejects with `mesh/*`, `wire/*` or the signal's reason. */
export async function pullBlackhole(
  source: Uint8Array,
  {
    transport,
    links,
  }: { readonly transport: Pick<Transport, 'requestPath' | 'recall'>; readonly links: Pick<Links, 'open'> },
  signal: AbortSignal,
): Promise<Blackholed[]> {
  const destination = destinationHash(nameHash(`${transportApp}.${aspects.join('.')}`), source);
  await transport.requestPath(destination);
  const known = transport.recall(destination);
  if (known === undefined) {
    throw new GatewayError('mesh/no-path', 'nothing is known of a source of blackhole lists', {
      retryable: true,
    });
  }
  const link = await links.open(destination, { identity: known.identity, signal });
  try {
    const { data } = await link.request(listPath, null, { maxResponseSize: blackholeListLongest, signal });
    return readBlackholeList(data, source);
  } finally {
    link.close();
  }
}
