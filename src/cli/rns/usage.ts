import { shortestAccessCode } from '../../mesh/reticulum/access-code.ts';
import type { InterfaceMode } from '../../mesh/reticulum/interface-policy.ts';
import { type InterfaceOptions, leastBitrate } from '../../radio/config.ts';
import { given, type Keys } from './keys.ts';

/** What a section of the reference's configuration says of how an interface is used, in the units of ours. */
export interface Usage extends Omit<InterfaceOptions, 'ifac'> {
  readonly networkName: string | undefined;
  readonly passphrase: string | undefined;
  /** Bytes, where it is given. */
  readonly codeSize: number | undefined;
  /** s between two announces of the interface itself; undefined where it is not announced. */
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

const minute = 60;
const discoveryLeast = 5 * minute;
const discoveryDefault = 360 * minute;
const bitsOfByte = 8;

/**
 * How an interface of the reference is used. What the reference does not take for a value is left out, as it does, and told.
 *
 * Source: the manual of Reticulum, “Configuring Interfaces”; the bounds of RNS 1.5.7.
 */
export function usageOf(keys: Keys): Usage {
  const isDiscoverable = keys.yes('discoverable') ?? false;
  const interval = keys.number('announce_interval');
  const code = keys.number('ifac_size');
  return {
    mode: discoverableMode(modeOf(keys), isDiscoverable, keys.text('type') ?? ''),
    outgoing: keys.yes('outgoing') ?? true,
    bitrate: within(keys, 'bitrate', leastBitrate),
    announce: announceOf(keys),
    ingress: given({
      limited: keys.yes('ingress_control'),
      announceRate: keys.number('ic_burst_freq'),
      announceRateYoung: keys.number('ic_burst_freq_new'),
      pathRequestRate: keys.number('ic_pr_burst_freq'),
      pathRequestRateYoung: keys.number('ic_pr_burst_freq_new'),
      youngFor: keys.number('ic_new_time'),
      calmTime: keys.number('ic_burst_hold'),
      penalty: keys.number('ic_burst_penalty'),
      held: keys.number('ic_max_held_announces'),
      releaseEvery: keys.number('ic_held_release_interval'),
    }),
    egress: given({ limited: keys.yes('egress_control'), pathRequestRate: keys.number('ec_pr_freq') }),
    gravity: keys.number('gravity'),
    recursivePathRequests: keys.yes('recursive_prs'),
    announcesToInternal: keys.yes('announces_to_internal'),
    announcesFromInternal: keys.yes('announces_from_internal'),
    networkName: keys.text('network_name', 'networkname'),
    passphrase: keys.text('pass_phrase', 'passphrase'),
    codeSize: codeSizeOf(keys, code),
    discoverableEvery: isDiscoverable
      ? Math.max(discoveryLeast, interval === undefined ? discoveryDefault : interval * minute)
      : undefined,
  };
}

/** `interface_mode` before `mode`; an unknown word is `full`. */
function modeOf(keys: Keys): InterfaceMode {
  const newer = keys.text('interface_mode')?.toLowerCase();
  const older = keys.text('mode', 'selected_interface_mode')?.toLowerCase();
  const word = newer ?? older ?? 'full';
  const wanted = Object.hasOwn(modes, word) ? modes[word]! : 'full';
  if (!Object.hasOwn(modes, word)) {
    keys.leave('mode', `${word} is no mode; it is full`);
  }
  if (newer !== undefined && older === undefined && (wanted === 'gateway' || wanted === 'internal')) {
    keys.refuse(
      'interface_mode',
      `without mode = ${newer} the reference does not start; here it is ${wanted}`,
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

function announceOf(keys: Keys): NonNullable<InterfaceOptions['announce']> {
  const cap = keys.number('announce_cap');
  const isCap = cap !== undefined && cap > 0 && cap <= 100;
  if (cap !== undefined && !isCap) {
    keys.leave('announce_cap', `${cap} is no share of 100`);
  }
  const rateTarget = within(keys, 'announce_rate_target', 1);
  // A target without a word of grace has none.
  const rateGrace = within(keys, 'announce_rate_grace', 0) ?? (rateTarget === undefined ? undefined : 0);
  const ratePenalty = within(keys, 'announce_rate_penalty', 0);
  return given({ cap: isCap ? cap : undefined, rateTarget, rateGrace, ratePenalty });
}

/** Bytes of a code given in bits, where there may be so many. */
function codeSizeOf(keys: Keys, bits: number | undefined): number | undefined {
  const size = bits === undefined ? 0 : Math.floor(bits / bitsOfByte);
  if (size >= shortestAccessCode) {
    return size;
  }
  if (bits !== undefined) {
    keys.leave('ifac_size', `${bits} bits are fewer than a code has`);
  }
  return undefined;
}

function within(keys: Keys, key: string, least: number): number | undefined {
  const number = keys.number(key);
  if (number !== undefined && number < least) {
    keys.leave(key, `${number} is less than ${least}`);
    return undefined;
  }
  return number;
}
