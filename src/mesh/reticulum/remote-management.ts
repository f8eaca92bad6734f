import type { MsgpackValue } from '../../lib/msgpack.ts';
import { LocalDestination } from './destination.ts';
import type { Identity } from './identity.ts';
import { pathStats, rateStats } from './interface-stats.ts';
import type { Links } from './links.ts';
import { hashLength } from './packet.ts';
import { toolPatience, transportApp } from './probe.ts';
import { type Answer, type IncomingRequest, RequestHandlers } from './request.ts';
import type { Transport } from './transport.ts';

/**
 * Remote management: `rnstatus -R` and `rnpath -R` of the reference ask a node how it is, over a link on which they
 * have identified.
 *
 *     /status   [with link count, with profile]                     → [interface stats, [link count], [nil]]
 *     /path     ["table", destination 16 or nil, most hops or nil]  → [path, …]
 *               ["rates", destination 16 or nil]                    → [rate, …]
 *
 * Source: RNS 1.5.7, seen by asking with its tools (test/interop/management.test.ts).
 */
export interface RemoteManagementParts {
  readonly identity: Identity;
  /** Identity hashes (hex) that are answered; others hear nothing. */
  readonly allowed: ReadonlySet<string>;
  readonly transport: Pick<Transport, 'register' | 'paths' | 'announceRates' | 'transitLinks'>;
  readonly links: Pick<Links, 'accept'>;
  /** What `interfaceStats` makes of the node now. */
  readonly status: () => MsgpackValue;
  /** Title of an interface by its name. */
  readonly titleOf: (interfaceName: string) => string;
}

/** Paths or rates in one answer, the nearest paths first. */
export const pathsAnswered = 10_000;
const requestLongest = 1024;

/** Registers the destination of management and answers on it; it is to be announced. */
export function serveRemoteManagement(parts: RemoteManagementParts): LocalDestination {
  const { identity, allowed: allow, transport, links } = parts;
  const destination = new LocalDestination({
    identity,
    appName: transportApp,
    aspects: ['remote', 'management'],
  });
  const handlers = new RequestHandlers();
  handlers.add({ path: '/status', allow, respond: ({ data }) => answerStatus(data, parts) });
  handlers.add({ path: '/path', allow, respond: ({ data }) => answerPath(data, parts) });
  transport.register(destination);
  links.accept(destination, {
    onLink: () => ({}),
    handlers,
    maxRequestSize: requestLongest,
    answerAfter: toolPatience,
  });
  return destination;
}

/** What `/status` answers; nothing to a question that is none. */
export function answerStatus(
  question: IncomingRequest['data'],
  { status, transport }: Pick<RemoteManagementParts, 'status' | 'transport'>,
): Answer {
  const words = listOf(question);
  if (words === undefined) {
    return undefined;
  }
  const answer: MsgpackValue[] = [status()];
  if (words[0] === true) {
    answer.push([...transport.transitLinks()].length);
  }
  if (words[1] === true) {
    answer.push(null);
  }
  return { value: answer };
}

/** What `/path` answers; nothing to a question that is none. */
export function answerPath(
  question: IncomingRequest['data'],
  { transport, titleOf }: Pick<RemoteManagementParts, 'transport' | 'titleOf'>,
): Answer {
  const [command, destination, most] = listOf(question) ?? [];
  const wanted =
    destination instanceof Uint8Array && destination.length === hashLength ? destination : undefined;
  if (destination !== undefined && destination !== null && wanted === undefined) {
    return undefined;
  }
  if (command === 'table') {
    const maxHops = typeof most === 'number' ? most : undefined;
    const nearest = [...transport.paths()].sort((a, b) => a.hops - b.hops);
    return { value: pathStats(nearest, titleOf, { destination: wanted, maxHops }).slice(0, pathsAnswered) };
  }
  if (command === 'rates') {
    return { value: rateStats(transport.announceRates(), wanted).slice(-pathsAnswered) };
  }
  return undefined;
}

function listOf(value: MsgpackValue): readonly MsgpackValue[] | undefined {
  return Array.isArray(value) && value.length > 0 ? value : undefined;
}
