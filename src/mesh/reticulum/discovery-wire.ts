import { concat, utf8 } from '../../lib/bytes.ts';
import { GatewayError } from '../../lib/errors.ts';
import { decode, encode, Float, type MsgpackValue } from '../../lib/msgpack.ts';
import { hashLength, sha256 } from './packet.ts';
import { isReachable } from './reachable-on.ts';
import { stampLength } from './stamp.ts';

/**
 * An interface that others may connect to, as it is announced on `rnstransport.discovery.interface`:
 *
 *     app data: flags 1 (signed 1, sealed 2) | facts, msgpack … | stamp 32
 *     sealed:   flags 1 | the same, encrypted for the network identity that announces it
 *     facts:    { 00 type, 01 forwards, FE transport id 16, FD implementation, FC version, FF name, 03 latitude,
 *                 04 longitude, 05 height, F0 operator's LXMF address 16, 02 reachable on, 06 port, 09 frequency,
 *                 0A bandwidth, 0B spreading factor, 0C coding rate, 0D modulation, 0E channel, 07 network name,
 *                 08 passphrase }
 *
 * The stamp is for SHA-256(facts), 20 rounds, a value of 16 or more.
 *
 * Source: RNS 1.5.7, seen by hearing and making such announces (test/vectors/discovery.json).
 */
export const discoveryAspects = ['discovery', 'interface'] as const;
export const discoveryRounds = 20;
export const discoveryCost = 16;

/** Kinds of interfaces that are announced, by the words of the reference. */
export const discoverableTypes = [
  'BackboneInterface',
  'TCPServerInterface',
  'TCPClientInterface',
  'RNodeInterface',
  'WeaveInterface',
  'I2PInterface',
  'KISSInterface',
] as const;
export type DiscoverableType = (typeof discoverableTypes)[number];

/** Those that are kept: nobody can connect to a client. */
export const keptTypes: readonly DiscoverableType[] = [
  'BackboneInterface',
  'TCPServerInterface',
  'I2PInterface',
  'RNodeInterface',
  'WeaveInterface',
  'KISSInterface',
];

/** What is announced of an interface. */
export interface InterfaceNotice {
  readonly type: DiscoverableType;
  /** Whether its node passes on packets of others. */
  readonly transport: boolean;
  /** 16 B */
  readonly transportId: Uint8Array;
  readonly implementation?: string | undefined;
  readonly version?: string | undefined;
  readonly name: string | undefined;
  /** Degrees, degrees, metres. */
  readonly latitude?: number | undefined;
  readonly longitude?: number | undefined;
  readonly height?: number | undefined;
  /** LXMF address (16 B) of who runs it. */
  readonly operator?: Uint8Array | undefined;
  /** Host name or address. */
  readonly reachableOn?: string | undefined;
  readonly port?: number | undefined;
  /** Hz */
  readonly frequency?: number | undefined;
  readonly bandwidth?: number | undefined;
  readonly spreadingFactor?: number | undefined;
  readonly codingRate?: number | undefined;
  readonly modulation?: MsgpackValue | undefined;
  readonly channel?: MsgpackValue | undefined;
  /** What its access code is made of, where that is published. */
  readonly networkName?: string | undefined;
  readonly passphrase?: string | undefined;
}

const keys = {
  type: 0x00,
  transport: 0x01,
  reachableOn: 0x02,
  latitude: 0x03,
  longitude: 0x04,
  height: 0x05,
  port: 0x06,
  networkName: 0x07,
  passphrase: 0x08,
  frequency: 0x09,
  bandwidth: 0x0a,
  spreadingFactor: 0x0b,
  codingRate: 0x0c,
  modulation: 0x0d,
  channel: 0x0e,
  operator: 0xf0,
  version: 0xfc,
  implementation: 0xfd,
  transportId: 0xfe,
  name: 0xff,
} as const;

const signedFlag = 0b01;
const sealedFlag = 0b10;
/** Characters of a text that is kept. */
const textLongest = 64;
const secretLongest = 256;

/** The facts of a notice: what its stamp is for. */
export function encodeNotice(notice: InterfaceNotice): Uint8Array {
  const facts = new Map<MsgpackValue, MsgpackValue>();
  facts.set(keys.type, notice.type);
  facts.set(keys.transport, notice.transport);
  facts.set(keys.transportId, notice.transportId);
  for (const key of ['implementation', 'version'] as const) {
    const text = notice[key];
    if (text !== undefined) {
      facts.set(keys[key], text);
    }
  }
  facts.set(keys.name, notice.name === undefined ? null : onOneLine(notice.name));
  for (const key of ['latitude', 'longitude', 'height'] as const) {
    const value = notice[key];
    facts.set(keys[key], value === undefined ? null : new Float(value));
  }
  const optional = [
    ...(['operator', 'reachableOn', 'port', 'frequency', 'bandwidth', 'spreadingFactor'] as const),
    ...(['codingRate', 'modulation', 'channel', 'networkName', 'passphrase'] as const),
  ];
  for (const key of optional) {
    const value = notice[key];
    if (value !== undefined) {
      facts.set(keys[key], value);
    }
  }
  return encode(facts);
}

/**
 * The notice in facts. Throws `wire/*` for what the reference refuses: facts that are missing or of another type, a
 * kind of interface that is not announced, an address that is none.
 */
export function decodeNotice(bytes: Uint8Array): InterfaceNotice {
  const facts = decodeFacts(bytes);
  const of = (key: keyof typeof keys): MsgpackValue | undefined => facts.get(keys[key]);
  const type = discoverableTypes.find(one => one === of('type'));
  const transport = of('transport');
  const transportId = of('transportId');
  const name = of('name');
  if (type === undefined || typeof transport !== 'boolean') {
    throw malformed('no kind of interface, or not whether its node forwards');
  }
  if (!(transportId instanceof Uint8Array) || transportId.length !== hashLength) {
    throw malformed('no transport id');
  }
  if (name !== null && typeof name !== 'string') {
    throw malformed('no name');
  }
  const reachableOn = of('reachableOn');
  if (reachableOn !== undefined && (typeof reachableOn !== 'string' || !isReachable(reachableOn))) {
    throw malformed('reachable on what is no address');
  }
  const operator = of('operator');
  if (operator !== undefined && operator !== null && !(operator instanceof Uint8Array)) {
    throw malformed('the address of an operator is bytes');
  }
  const notice: InterfaceNotice = {
    type,
    transport,
    transportId: new Uint8Array(transportId),
    implementation: textOf(of('implementation')),
    version: textOf(of('version')),
    name: cleanName(name),
    latitude: placeOf(of('latitude'), 90),
    longitude: placeOf(of('longitude'), 180),
    height: placeOf(of('height'), 1e6),
    operator: operator?.length === hashLength ? new Uint8Array(operator) : undefined,
    networkName: secretOf(of('networkName')),
    passphrase: secretOf(of('passphrase')),
  };
  return { ...notice, ...reachOf(type, of, reachableOn) };
}

/** Whether facts say of which kind the interface is: there may be kinds that are not told this way. Throws `wire/*`. */
export function hasKind(bytes: Uint8Array): boolean {
  return decodeFacts(bytes).has(keys.type);
}

function decodeFacts(bytes: Uint8Array): ReadonlyMap<MsgpackValue, MsgpackValue> {
  const facts = decode(bytes, { maxDepth: 3, maxItems: 128 });
  if (!(facts instanceof Map)) {
    throw malformed('a notice of an interface is a map');
  }
  return facts;
}

/** The facts that a kind of interface cannot do without. */
function reachOf(
  type: DiscoverableType,
  of: (key: keyof typeof keys) => MsgpackValue | undefined,
  reachableOn: string | undefined,
): Partial<InterfaceNotice> {
  const number = (
    key: 'port' | 'frequency' | 'bandwidth' | 'spreadingFactor' | 'codingRate',
    most: number,
  ) => {
    const value = of(key);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) {
      throw malformed(`no ${key}`);
    }
    return value;
  };
  const thing = (key: 'modulation' | 'channel') => {
    const value = of(key);
    if (value === undefined) {
      throw malformed(`no ${key}`);
    }
    return typeof value === 'string' ? value.slice(0, textLongest) : typeof value === 'number' ? value : null;
  };
  const band = () => ({ frequency: number('frequency', 1e12), bandwidth: number('bandwidth', 1e12) });
  switch (type) {
    case 'BackboneInterface':
    case 'TCPServerInterface': {
      const port = number('port', 65_535);
      if (reachableOn === undefined || port === 0) {
        throw malformed('a listener without an address');
      }
      return { reachableOn, port };
    }
    case 'I2PInterface':
      if (reachableOn === undefined) {
        throw malformed('a listener without an address');
      }
      return { reachableOn };
    case 'RNodeInterface': {
      const [spreadingFactor, codingRate] = [number('spreadingFactor', 255), number('codingRate', 255)];
      return { ...band(), spreadingFactor, codingRate };
    }
    case 'WeaveInterface':
      return { ...band(), channel: thing('channel'), modulation: thing('modulation') };
    case 'KISSInterface':
      return { ...band(), modulation: thing('modulation') };
    case 'TCPClientInterface':
      return {};
  }
}

/** App data of an announce: what was stamped, sealed or not. */
export function encodeDiscovery(stamped: Uint8Array, sealed: boolean): Uint8Array {
  return concat(Uint8Array.of(sealed ? sealedFlag : 0), stamped);
}

/** App data split, as views; the payload of a sealed one is still to be opened. Throws `wire/truncated`. */
export function decodeDiscovery(appData: Uint8Array): {
  readonly sealed: boolean;
  readonly signed: boolean;
  readonly payload: Uint8Array;
} {
  const [flags = 0] = appData;
  if (appData.length <= stampLength + 1) {
    throw new GatewayError('wire/truncated', `${appData.length} bytes hold no notice and its stamp`);
  }
  return {
    sealed: (flags & sealedFlag) !== 0,
    signed: (flags & signedFlag) !== 0,
    payload: appData.subarray(1),
  };
}

/** Facts and stamp of an opened payload, as views. Throws `wire/truncated`. */
export function splitStamped(payload: Uint8Array): {
  readonly facts: Uint8Array;
  readonly stamp: Uint8Array;
} {
  if (payload.length <= stampLength) {
    throw new GatewayError('wire/truncated', `${payload.length} bytes hold no notice and its stamp`);
  }
  const at = payload.length - stampLength;
  return { facts: payload.subarray(0, at), stamp: payload.subarray(at) };
}

/** Bytes (32) that tell one announced interface from the others of its node. */
export function discoveryKey({
  transportId,
  name,
  type,
}: Pick<InterfaceNotice, 'transportId' | 'name' | 'type'>) {
  return sha256(utf8(transportId.toHex() + shownName({ name, type })));
}

/** Its name, or what stands for one. */
export function shownName({ name, type }: Pick<InterfaceNotice, 'name' | 'type'>): string {
  return name === undefined || name === '' ? `Discovered ${type}` : name;
}

/** A name as it may be shown anywhere: ASCII that begins with a letter or digit, with single spaces; undefined where nothing is left. */
export function cleanName(name: string | null | undefined): string | undefined {
  const clean = (name ?? '')
    .replaceAll(/[^\x20-\x7e]/g, '')
    .replaceAll(/ +/g, ' ')
    .slice(0, textLongest)
    .replace(/^[^0-9A-Za-z]+/, '')
    .replace(/[^0-9A-Za-z)]+$/, '');
  return clean === '' ? undefined : clean;
}

/** As the reference announces a text: without line breaks, and without space around it. */
export function onOneLine(text: string): string {
  return text.replaceAll(/[\r\n]/g, '').trim();
}

function textOf(value: MsgpackValue | undefined): string | undefined {
  const text = typeof value === 'string' ? value.replaceAll(/[^\x20-\x7e]/g, '').slice(0, textLongest) : '';
  return text === '' ? undefined : text;
}

/** A name or passphrase of an access code; the word None is what some nodes publish for none. */
function secretOf(value: MsgpackValue | undefined): string | undefined {
  return typeof value === 'string' && value !== '' && value !== 'None' && value.length <= secretLongest
    ? value
    : undefined;
}

function placeOf(value: MsgpackValue | undefined, most: number): number | undefined {
  if (value === null) {
    return undefined;
  }
  if (!(value instanceof Float)) {
    throw malformed('a place is floats, or nothing');
  }
  return Number.isFinite(value.value) && Math.abs(value.value) <= most ? value.value : undefined;
}

function malformed(why: string): GatewayError {
  return new GatewayError('wire/malformed', why);
}
