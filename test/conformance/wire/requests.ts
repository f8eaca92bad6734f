import { codeOf } from '../../../src/lib/errors.ts';
import { contexts, decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import {
  type Answer,
  type IncomingRequest,
  responseGrace,
  responseRtts,
  responseTimeout,
} from '../../../src/mesh/reticulum/request.ts';
import type { Command, Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, flagOf, hex, hexOrNull, integerIf, textOf, textsOf } from '../params.ts';
import { isOf } from './links.ts';
import { nodeOf } from './node.ts';
import { listenerOf, outLinkOf } from './state.ts';
import { twinOf } from './twin.ts';
import { timeoutOf } from './waiting.ts';

/** Requests that reached a handler, by node, destination and path. */
const logs = new Map<string, IncomingRequest[]>();
/** The reference has the grace of a response's time-out as seconds that are taken 1.125 times. */
const graceFactor = 1.125;

const request: Command = async params => {
  const timeout = timeoutOf(params, 10_000);
  try {
    const response = await outLinkOf(params).request(textOf(params, 'path'), dataOf(params), { timeout });
    const body = response.file ?? response.data;
    return {
      status: 'ready',
      response: body instanceof Uint8Array ? hex(body) : null,
      response_metadata: response.metadata instanceof Uint8Array ? hex(response.metadata) : null,
      response_time_s: response.took / 1000,
    };
  } catch (error) {
    const status = codeOf(error) === 'mesh/timeout' ? 'timeout' : 'failed';
    return { status, response: null, response_metadata: null };
  }
};

export const commands: Commands = {
  wire_register_request_handler(params) {
    const path = textOf(params, 'path');
    const { handlers } = listenerOf(params);
    const answer = answerOf(params);
    const log = logOf(params);
    handlers.add({
      path,
      allow: allowOf(params),
      respond(asked) {
        log.push(asked);
        return answer;
      },
    });
    return { registered: true };
  },

  wire_deregister_request_handler(params) {
    return { deregistered: listenerOf(params).handlers.remove(textOf(params, 'path')) };
  },

  wire_get_request_log(params) {
    const entries = logOf(params).map(({ data, requestId, linkId, remote, requestedAt }) => ({
      data: data instanceof Uint8Array ? hex(data) : '',
      request_id: hex(requestId),
      link_id: hex(linkId),
      remote_identity_hash: hexOrNull(remote?.hash),
      requested_at: requestedAt / 1000,
    }));
    return { count: entries.length, entries };
  },

  wire_link_request: request,

  wire_link_request_large: params => request({ timeout_ms: 30_000, ...params }),

  wire_link_request_timeout(params) {
    const link = outLinkOf(params);
    const explicit = integerIf(params, 'timeout_ms');
    const timeout = explicit ?? responseTimeout(link.rtt);
    link.request(textOf(params, 'path'), dataOf(params), { timeout }).catch(() => {});
    return {
      receipt_timeout: timeout / 1000,
      rtt: link.rtt / 1000,
      traffic_timeout_factor: responseRtts,
      response_max_grace_time: responseGrace / graceFactor / 1000,
      explicit_timeout: explicit === undefined ? null : explicit / 1000,
    };
  },

  async wire_capture_response_packet(params) {
    const { wire, random } = nodeOf(params);
    const link = outLinkOf(params);
    const before = wire.lastSeq;
    const { status, response } = await request({ timeout_ms: 15_000, ...params });
    const twin = twinOf(link.id, wire, random);
    const captured = wire.received
      .filter(({ seq }) => seq > before)
      .flatMap(({ raw }): { context: number; plaintext: string | null }[] => {
        if (isOf(raw, link, contexts.resourceAdvertisement)) {
          return [{ context: contexts.resourceAdvertisement, plaintext: null }];
        }
        return isOf(raw, link, contexts.response)
          ? [{ context: contexts.response, plaintext: hex(twin.open(decodePacket(raw).data)) }]
          : [];
      });
    return { status, response, captured };
  },
};

function dataOf(params: Params): Uint8Array | null {
  const data = bytesIf(params, 'data');
  return data === undefined || data.length === 0 ? null : data;
}

function answerOf(params: Params): Answer {
  if (flagOf(params, 'response_none', false)) return undefined;
  const file = bytesIf(params, 'response_file');
  if (file !== undefined) return { file, metadata: bytesIf(params, 'response_metadata') ?? null };
  return { value: bytesIf(params, 'response') ?? new Uint8Array(0) };
}

function allowOf(params: Params): 'none' | 'all' | ReadonlySet<string> {
  const allow = params.allow ?? 'all';
  if (allow === 'all' || allow === 'none') return allow;
  if (allow !== 'list') throw new Error(`nobody is allowed by ${allow}`);
  return new Set(textsOf(params, 'allowed_identity_hashes'));
}

function logOf(params: Params): IncomingRequest[] {
  const key = `${textOf(params, 'handle')} ${hex(bytesOf(params, 'destination_hash', 16))} ${textOf(params, 'path')}`;
  return logs.getOrInsertComputed(key, () => []);
}
