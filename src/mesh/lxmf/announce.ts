import { fromUtf8, utf8 } from '../../lib/bytes.ts';
import { isGatewayError } from '../../lib/errors.ts';
import { decode, encode, type MsgpackValue } from '../../lib/msgpack.ts';

/**
 * What LXMF puts into the app data of announces.
 *
 *     delivery     msgpack [display name bin or nil, stamp cost int or nil, features list of int]
 *     delivery, before LXMF 0.5   the display name in UTF-8, nothing else
 *     propagation  msgpack [false, time base, active, transfer limit, sync limit, [costs], metadata map]
 *
 * Source: SPEC.md §4.3; checked against LXMF 1.2.1 (test/vectors/lxmf-announce-data.json).
 */
export interface DeliveryAnnounce {
  /** As it is to be shown: without control characters and outer space. */
  readonly displayName: string | undefined;
  /** Bits of proof of work a message must carry; undefined where none. */
  readonly stampCost: number | undefined;
  /** Whether Resources may be compressed; assumed where nothing is said. */
  readonly compression: boolean;
}

/** A feature of a delivery destination: Resources sent to it may be compressed with bz2. */
export const compressionFeature = 0x00;
/** What the app data of an LXMF delivery destination is announced under, and a propagation node's. */
export const deliveryAspects = { appName: 'lxmf', aspects: ['delivery'] } as const;
export const deliveryName = 'lxmf.delivery';
export const propagationName = 'lxmf.propagation';

const maxDepth = 8;
const knownNothing: DeliveryAnnounce = { displayName: undefined, stampCost: undefined, compression: true };

/** App data of a delivery announce. Throws `wire/*` where it says it is msgpack and is not. */
export function decodeDeliveryAnnounce(appData: Uint8Array | undefined): DeliveryAnnounce {
  if (appData === undefined || appData.length === 0) {
    return knownNothing;
  }
  if (!isList(appData)) {
    return { ...knownNothing, displayName: nameOf(appData) };
  }
  const list = decode(appData, { maxDepth });
  if (!Array.isArray(list)) {
    return knownNothing;
  }
  const [name, cost, features] = list as readonly MsgpackValue[];
  return {
    displayName: nameOf(name),
    stampCost: typeof cost === 'number' && cost > 0 ? cost : undefined,
    compression: Array.isArray(features) ? features.includes(compressionFeature) : true,
  };
}

/** App data for a delivery destination of ours: no stamp cost, because stamps are not checked yet. */
export function encodeDeliveryAnnounce(displayName: string | undefined): Uint8Array {
  return encode([displayName === undefined ? null : utf8(displayName), null, [compressionFeature]]);
}

/** What is understood of a propagation node's announce. */
export interface PropagationAnnounce {
  readonly active: boolean;
}

/** Whether app data is that of a propagation node, by the shape the reference demands; undefined where it is not. */
export function decodePropagationAnnounce(appData: Uint8Array | undefined): PropagationAnnounce | undefined {
  if (appData === undefined || !isList(appData)) {
    return undefined;
  }
  let list: MsgpackValue;
  try {
    list = decode(appData, { maxDepth });
  } catch (error) {
    if (isGatewayError(error)) {
      return undefined;
    }
    throw error;
  }
  if (!Array.isArray(list) || list.length < 7 || typeof list[2] !== 'boolean') {
    return undefined;
  }
  const whole = Array.isArray(list[5]) && list[5].length >= 3 && list[6] instanceof Map;
  return whole ? { active: list[2] } : undefined;
}

/** A list of up to 15 or up to 65,535 elements: what tells the newer form from a bare name. */
function isList(appData: Uint8Array): boolean {
  const first = appData[0] ?? 0;
  return (first >= 0x90 && first <= 0x9f) || first === 0xdc;
}

function nameOf(value: MsgpackValue | undefined): string | undefined {
  if (typeof value === 'string') {
    return shown(value);
  }
  if (!(value instanceof Uint8Array)) {
    return undefined;
  }
  try {
    return shown(fromUtf8(value, 'display name'));
  } catch (error) {
    if (isGatewayError(error, 'wire/malformed')) {
      return undefined;
    }
    throw error;
  }
}

function shown(name: string): string {
  return name.replace(/\p{Cc}/gu, '').trim();
}
