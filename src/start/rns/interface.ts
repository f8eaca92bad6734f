import { GatewayError } from '../../lib/errors.ts';
import { longestAccessCode, shortestAccessCode } from '../../mesh/reticulum/access-code.ts';
import type { AnnouncePolicy, IngressPolicy, InterfaceMode } from '../../mesh/reticulum/interface-policy.ts';
import type { RnsSection } from './config-text.ts';

/** What a section of the reference's configuration says of how an interface is used, in the mesh's units. */
export interface RnsInterface {
  /** The reference's class, such as `TCPClientInterface`. */
  readonly type: string;
  readonly enabled: boolean;
  readonly mode: InterfaceMode;
  readonly outgoing: boolean;
  /** bit/s, where one is given that counts. */
  readonly bitrate: number | undefined;
  readonly announce: AnnouncePolicy;
  readonly ingress: IngressPolicy;
  readonly networkName: string | undefined;
  readonly passphrase: string | undefined;
  /** Bytes, where it is given. */
  readonly codeSize: number | undefined;
  /** ms between two announces of the interface itself; undefined where it is not announced. */
  readonly discoverableEvery: number | undefined;
}

const modes: Readonly<Record<string, InterfaceMode>> = {
  full: 'full',
  access_point: 'access-point',
  accesspoint: 'access-point',
  ap: 'access-point',
  pointtopoint: 'point-to-point',
  ptp: 'point-to-point',
  roaming: 'roaming',
  boundary: 'boundary',
  gateway: 'gateway',
  gw: 'gateway',
  internal: 'internal',
};

const minute = 60_000;
/** bit/s below which a bitrate is none. */
export const leastBitrate = 5;
const discoveryLeast = 5 * minute;
const discoveryDefault = 360 * minute;
const bitsOfByte = 8;

/**
 * How an interface of the reference is used. What the reference does not take for a value is left out, as it does.
 * Throws `config/invalid` for a number or a flag that is none, and for what the reference does not start with.
 *
 * Source: the manual of Reticulum, “Configuring Interfaces”; the bounds of RNS 1.5.7.
 */
export function readRnsInterface(section: RnsSection): RnsInterface {
  const { values } = section;
  const type = values.get('type') ?? '';
  const isDiscoverable = flagOf(section, 'discoverable') ?? false;
  const interval = numberOf(section, 'announce_interval');
  return {
    type,
    enabled: flagOf(section, 'interface_enabled') ?? flagOf(section, 'enabled') ?? false,
    mode: discoverableMode(modeOf(values), isDiscoverable, type),
    outgoing: flagOf(section, 'outgoing') ?? true,
    bitrate: within(numberOf(section, 'bitrate'), leastBitrate),
    announce: announceOf(section),
    ingress: ingressOf(section),
    networkName: textOf(values, 'network_name', 'networkname'),
    passphrase: textOf(values, 'pass_phrase', 'passphrase'),
    codeSize: codeSizeOf(numberOf(section, 'ifac_size')),
    discoverableEvery: isDiscoverable
      ? Math.max(discoveryLeast, interval === undefined ? discoveryDefault : interval * minute)
      : undefined,
  };
}

/** `interface_mode` before `mode`; an unknown word is `full`. */
function modeOf(values: ReadonlyMap<string, string>): InterfaceMode {
  const [newer, older] = ['interface_mode', 'mode'].map(key => values.get(key)?.toLowerCase());
  const wanted = modes[newer ?? older ?? 'full'] ?? 'full';
  if (newer !== undefined && older === undefined && (wanted === 'gateway' || wanted === 'internal')) {
    throw new GatewayError(
      'config/invalid',
      `interface_mode = ${newer} without mode = ${newer}: the reference does not start with it`,
    );
  }
  return wanted;
}

/** What everybody is told of is to lead somewhere: it is a gateway, or an access point. */
function discoverableMode(mode: InterfaceMode, isDiscoverable: boolean, type: string): InterfaceMode {
  if (!isDiscoverable || mode === 'gateway' || mode === 'access-point') {
    return mode;
  }
  return type.startsWith('RNode') ? 'access-point' : 'gateway';
}

function announceOf(section: RnsSection): AnnouncePolicy {
  const cap = numberOf(section, 'announce_cap');
  const target = within(numberOf(section, 'announce_rate_target'), 1);
  const grace = within(numberOf(section, 'announce_rate_grace'), 0) ?? (target === undefined ? target : 0);
  const penalty = within(numberOf(section, 'announce_rate_penalty'), 0);
  return {
    ...(cap !== undefined && cap > 0 && cap <= 100 && { cap: cap / 100 }),
    ...(target !== undefined && { rateTarget: target * 1000 }),
    ...(grace !== undefined && { rateGrace: grace }),
    ...(penalty !== undefined && { ratePenalty: penalty * 1000 }),
  };
}

/** Keys of the reference, ours, and how many of ours one of theirs is. */
const ingressKeys: readonly (readonly [string, keyof IngressPolicy, number])[] = [
  ['ic_new_time', 'youngFor', 1000],
  ['ic_burst_freq', 'announceRate', 1],
  ['ic_burst_freq_new', 'announceRateYoung', 1],
  ['ic_pr_burst_freq', 'pathRequestRate', 1],
  ['ic_pr_burst_freq_new', 'pathRequestRateYoung', 1],
  ['ic_burst_hold', 'calmTime', 1000],
  ['ic_burst_penalty', 'penalty', 1000],
  ['ic_max_held_announces', 'held', 1],
  ['ic_held_release_interval', 'releaseEvery', 1000],
];

function ingressOf(section: RnsSection): IngressPolicy {
  const limited = flagOf(section, 'ingress_control');
  const given = ingressKeys.flatMap(([theirs, ours, unit]) => {
    const number = numberOf(section, theirs);
    return number === undefined ? [] : [[ours, number * unit] as const];
  });
  return { ...(limited !== undefined && { limited }), ...Object.fromEntries(given) };
}

/** Bytes of a code given in bits, where there may be so many. */
function codeSizeOf(bits: number | undefined): number | undefined {
  const size = bits === undefined ? 0 : Math.floor(bits / bitsOfByte);
  return size >= shortestAccessCode ? Math.min(size, longestAccessCode) : undefined;
}

/** The first of the keys that is there and says something; a key without text, or `None`, says nothing. */
function textOf(values: ReadonlyMap<string, string>, ...keys: readonly string[]): string | undefined {
  return keys.map(key => values.get(key)).find(text => text !== undefined && text !== '' && text !== 'None');
}

function numberOf({ values }: RnsSection, key: string): number | undefined {
  const text = values.get(key);
  if (text === undefined) {
    return undefined;
  }
  const number = text === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(number)) {
    throw new GatewayError('config/invalid', `${key} = ${text}: not a number`);
  }
  return number;
}

function within(number: number | undefined, least: number): number | undefined {
  return number !== undefined && number >= least ? number : undefined;
}

function flagOf({ values }: RnsSection, key: string): boolean | undefined {
  const text = values.get(key)?.toLowerCase();
  if (text === undefined) {
    return undefined;
  }
  if (['yes', 'true', 'on', '1'].includes(text)) {
    return true;
  }
  if (['no', 'false', 'off', '0'].includes(text)) {
    return false;
  }
  throw new GatewayError('config/invalid', `${key} = ${text}: neither yes nor no`);
}
