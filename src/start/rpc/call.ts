import { decode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { hashLength } from '../../mesh/reticulum/packet.ts';

/** What a program asks of its instance, or tells it. Hashes are 16 B, those of packets 32 B; times are ms epoch. */
export type RpcCall =
  | { readonly on: 'interface-stats' }
  | { readonly on: 'path-table'; readonly maxHops: number | undefined }
  | { readonly on: 'rate-table' }
  | { readonly on: 'next-hop-interface'; readonly destination: Uint8Array }
  | { readonly on: 'next-hop'; readonly destination: Uint8Array }
  | { readonly on: 'first-hop-timeout'; readonly destination: Uint8Array }
  | { readonly on: 'lowest-bitrate' }
  | { readonly on: 'medium-path-timeout' }
  | { readonly on: 'link-count' }
  | { readonly on: 'active-link-count' }
  | { readonly on: 'quality'; readonly of: 'rssi' | 'snr' | 'q'; readonly packet: Uint8Array }
  | { readonly on: 'profiling' }
  | { readonly on: 'blackholed' }
  | { readonly on: 'is-blackholed'; readonly identity: Uint8Array }
  | {
      readonly on: 'blackhole';
      readonly identity: Uint8Array;
      readonly until: number | undefined;
      readonly reason: string | undefined;
    }
  | { readonly on: 'unblackhole'; readonly identity: Uint8Array }
  | { readonly on: 'attach' | 'detach' | 'reload'; readonly name: string }
  | { readonly on: 'drop-path'; readonly destination: Uint8Array }
  | { readonly on: 'drop-all-via'; readonly transport: Uint8Array }
  | { readonly on: 'drop-announce-queues' }
  | { readonly on: 'keep-destination'; readonly destination: Uint8Array }
  | { readonly on: 'keep-identity'; readonly identity: Uint8Array };

/** Bytes of the longest call. */
export const longestCall = 16_384;
/** Characters of the longest name of an interface, or reason. */
const longestText = 1024;

type Fields = ReadonlyMap<string, MsgpackValue>;

/**
 * The call in a frame; undefined for one that we do not know or that lacks what it needs. Throws `wire/*`.
 *
 * Source: RNS 1.5.7, what its programs send; the same in 1.4.2, as far as that goes.
 */
export function decodeCall(bytes: Uint8Array): RpcCall | undefined {
  const value = decode(bytes, { maxDepth: 4, maxItems: 64, maxBytes: longestCall });
  if (!(value instanceof Map)) {
    return undefined;
  }
  const fields = new Map(
    [...value].filter((entry): entry is [string, MsgpackValue] => typeof entry[0] === 'string'),
  );
  const blackholed = hashIn(fields, 'blackhole_identity');
  if (blackholed !== undefined) {
    return {
      on: 'blackhole',
      identity: blackholed,
      until: timeIn(fields, 'until'),
      reason: textIn(fields, 'reason'),
    };
  }
  const lifted = hashIn(fields, 'unblackhole_identity');
  if (lifted !== undefined) {
    return { on: 'unblackhole', identity: lifted };
  }
  const verb = ['get', 'manage', 'drop', 'destination_data', 'identity_data'].find(name => fields.has(name));
  const what = verb === undefined ? undefined : textIn(fields, verb);
  return what === undefined ? undefined : calls[`${verb} ${what}`]?.(fields);
}

/** By verb and object. */
const calls: Readonly<Record<string, (fields: Fields) => RpcCall | undefined>> = {
  'get interface_stats': () => ({ on: 'interface-stats' }),
  'get path_table': fields => ({ on: 'path-table', maxHops: numberIn(fields, 'max_hops') }),
  'get rate_table': () => ({ on: 'rate-table' }),
  'get next_hop_if_name': fields => withDestination('next-hop-interface', fields),
  'get next_hop': fields => withDestination('next-hop', fields),
  'get first_hop_timeout': fields => withDestination('first-hop-timeout', fields),
  'get lowest_interface_bitrate': () => ({ on: 'lowest-bitrate' }),
  'get medium_path_timeout': () => ({ on: 'medium-path-timeout' }),
  'get link_count': () => ({ on: 'link-count' }),
  'get active_link_count': () => ({ on: 'active-link-count' }),
  'get packet_rssi': fields => quality('rssi', fields),
  'get packet_snr': fields => quality('snr', fields),
  'get packet_q': fields => quality('q', fields),
  'get profiling_results': () => ({ on: 'profiling' }),
  'get blackholed_identities': () => ({ on: 'blackholed' }),
  'get is_blackholed': fields => {
    const identity = hashIn(fields, 'identity_hash');
    return identity && { on: 'is-blackholed', identity };
  },
  'manage attach_interface': fields => manage('attach', fields),
  'manage detach_interface': fields => manage('detach', fields),
  'manage reload_interface': fields => manage('reload', fields),
  'drop path': fields => withDestination('drop-path', fields),
  'drop all_via': fields => {
    const transport = hashIn(fields, 'destination_hash');
    return transport && { on: 'drop-all-via', transport };
  },
  'drop announce_queues': () => ({ on: 'drop-announce-queues' }),
  'destination_data used': fields => withDestination('keep-destination', fields),
  'destination_data retain': fields => withDestination('keep-destination', fields),
  'destination_data unretain': fields => withDestination('keep-destination', fields),
  'identity_data retain': fields => {
    const identity = hashIn(fields, 'identity_hash');
    return identity && { on: 'keep-identity', identity };
  },
};

function withDestination(
  on: 'next-hop-interface' | 'next-hop' | 'first-hop-timeout' | 'drop-path' | 'keep-destination',
  fields: Fields,
): RpcCall | undefined {
  const destination = hashIn(fields, 'destination_hash');
  return destination && { on, destination };
}

function quality(of: 'rssi' | 'snr' | 'q', fields: Fields): RpcCall | undefined {
  const packet = fields.get('packet_hash');
  return packet instanceof Uint8Array && packet.length === 32 ? { on: 'quality', of, packet } : undefined;
}

function manage(on: 'attach' | 'detach' | 'reload', fields: Fields): RpcCall | undefined {
  const name = textIn(fields, 'name');
  return name === undefined ? undefined : { on, name };
}

function hashIn(fields: Fields, name: string): Uint8Array | undefined {
  const value = fields.get(name);
  return value instanceof Uint8Array && value.length === hashLength ? value : undefined;
}

function textIn(fields: Fields, name: string): string | undefined {
  const value = fields.get(name);
  return typeof value === 'string' && value.length <= longestText ? value : undefined;
}

function numberIn(fields: Fields, name: string): number | undefined {
  const value = fields.get(name);
  const number = value instanceof Float ? value.value : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function timeIn(fields: Fields, name: string): number | undefined {
  const seconds = numberIn(fields, name);
  return seconds === undefined ? undefined : seconds * 1000;
}
