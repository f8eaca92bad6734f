import { concat } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { decode, encode, Float, type MsgpackValue } from '../../../src/lib/msgpack.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { type DiscoveredInterface, discoveredAges } from '../../../src/mesh/reticulum/discovered.ts';
import { publishInterfaces } from '../../../src/mesh/reticulum/discovery-publisher.ts';
import {
  cleanName,
  decodeDiscovery,
  decodeNotice,
  discoverableTypes,
  discoveryCost,
  discoveryKey,
  onOneLine,
  shownName,
  splitStamped,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { decodeIdentity, generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { transportApp } from '../../../src/mesh/reticulum/probe.ts';
import { isHostname, isIpAddress, isOutOfReach } from '../../../src/mesh/reticulum/reachable-on.ts';
import {
  expandMaterial,
  searchStamp,
  stampLength,
  stampValue,
  workBlock,
  workBlockOf,
} from '../../../src/mesh/reticulum/stamp.ts';
import { BridgeClock, settled } from '../clock.ts';
import type { Command, Commands, Params, Result } from '../command.ts';
import {
  bytesIf,
  bytesOf,
  flagOf,
  hex,
  hexOrNull,
  integerIf,
  integerOf,
  listOf,
  numberIf,
  textIf,
  textOf,
  textsOf,
} from '../params.ts';
import { Hearing, noticeOf, type Stamped, stampedFor, stampedNotice } from './discovery-parts.ts';

/** Kinds that are kept: nobody can connect to a client. The order is the suite's. */
const keptTypes = [
  'BackboneInterface',
  'TCPServerInterface',
  'I2PInterface',
  'RNodeInterface',
  'WeaveInterface',
  'KISSInterface',
];
/** Code points of the reference's API. */
const statusCodes = { available: 1000, unknown: 100, stale: 0 } as const;

const identityIf = (params: Params, name: string): Identity | undefined => {
  const key = bytesIf(params, name);
  return key && decodeIdentity(key);
};

const fieldsOf = (params: Params): Params => (params.fields as Params | undefined) ?? {};

const transportIdentity = generateIdentity(systemRandom);

const places = { latitude: 0x03, longitude: 0x04, height: 0x05 } as const;

/** An announce as a node makes it; one of a place that is none has it written over what was made without. */
async function build(params: Params): Promise<Stamped | undefined> {
  const fields = fieldsOf(params);
  const wrong = Object.entries(places).filter(([name]) => typeof fields[name] === 'string');
  const right = Object.fromEntries(
    Object.entries(fields).filter(([name]) => !wrong.some(([one]) => one === name)),
  );
  const built = await buildRight({ ...params, fields: right });
  if (built === undefined || wrong.length === 0) return built;
  const facts = decode(built.facts, { maxDepth: 3 }) as Map<MsgpackValue, MsgpackValue>;
  for (const [name, key] of wrong) facts.set(key, String(fields[name]));
  return stampedFor(encode(facts), integerIf(params, 'stamp_value') ?? discoveryCost);
}

async function buildRight(params: Params): Promise<Stamped | undefined> {
  const id = identityIf(params, 'transport_identity_priv') ?? transportIdentity;
  const forwards = flagOf(params, 'transport_enabled', false);
  const notice = noticeOf(textOf(params, 'interface_type'), fieldsOf(params), id.hash, forwards);
  const network = identityIf(params, 'network_identity_priv');
  const isSealed = flagOf(params, 'encrypt', false);
  if (notice === undefined || (isSealed && network === undefined)) return undefined;
  return stampedNotice(
    notice,
    integerIf(params, 'stamp_value') ?? discoveryCost,
    isSealed ? network : undefined,
  );
}

const buildAppData: Command = async params => {
  const built = await build(params);
  if (built === undefined) return { aborted: true, app_data: null };
  const { appData } = built;
  const at = appData.length - stampLength;
  const id = identityIf(params, 'transport_identity_priv') ?? transportIdentity;
  return {
    aborted: false,
    app_data: hex(appData),
    flags: appData[0],
    packed_info: hex(appData.subarray(1, at)),
    stamp: hex(appData.subarray(at)),
    infohash: hex(sha256(appData.subarray(1, at))),
    stamp_size: stampLength,
    transport_id: hex(id.hash),
    transport_enabled: flagOf(params, 'transport_enabled', false),
    default_stamp_value: discoveryCost,
  };
};

/** A genuine announce with its facts changed, and stamped again: only the change is wrong with it. */
async function craft(params: Params): Promise<Stamped | undefined> {
  const built = await build(params);
  if (built === undefined) return undefined;
  const facts = decode(built.facts, { maxDepth: 3 }) as Map<MsgpackValue, MsgpackValue>;
  const dropped = integerIf(params, 'drop_field');
  if (dropped !== undefined) facts.delete(dropped);
  const type = textIf(params, 'set_interface_type');
  if (type !== undefined) facts.set(0x00, type);
  for (const change of listOf(params, 'set_fields')) {
    const spec = change as Params;
    facts.set(integerOf(spec, 'key'), changed(spec));
  }
  return stampedFor(encode(facts), integerIf(params, 'stamp_value') ?? discoveryCost);
}

function changed(spec: Params): MsgpackValue {
  const { value } = spec;
  switch (textIf(spec, 'kind') ?? 'str') {
    case 'bytes':
      return Uint8Array.fromHex(String(value));
    case 'int':
      return Math.trunc(Number(value));
    case 'float':
      return new Float(Number(value));
    case 'bool':
      return Boolean(value);
    default:
      return value as MsgpackValue;
  }
}

function describe(
  { key, notice, networkId, value, hops, heard, facts }: DiscoveredInterface,
  stamp: Uint8Array,
): Result {
  const optional = {
    reachable_on: notice.reachableOn,
    port: notice.port,
    frequency: notice.frequency,
    bandwidth: notice.bandwidth,
    sf: notice.spreadingFactor,
    cr: notice.codingRate,
    modulation: notice.modulation,
    channel: notice.channel,
    ifac_netname: notice.networkName,
    ifac_netkey: notice.passphrase,
  };
  return {
    type: notice.type,
    name: shownName(notice),
    transport: notice.transport,
    transport_id: hex(notice.transportId),
    network_id: hex(networkId),
    latitude: notice.latitude ?? null,
    longitude: notice.longitude ?? null,
    height: notice.height ?? null,
    discovery_hash: key,
    packed: hex(facts),
    stamp: hex(stamp),
    value,
    hops,
    received: fraction(heard / 1000),
    ...Object.fromEntries(Object.entries(optional).filter(([, one]) => one !== undefined)),
  };
}

/** JSON has no floats: what happens to be whole would be read as an integer. */
const fraction = (seconds: number): number => (Number.isInteger(seconds) ? seconds + 0.0005 : seconds);

const sourcesOf = (params: Params, name: string): ReadonlySet<string> | undefined =>
  params[name] === undefined || params[name] === null ? undefined : new Set(textsOf(params, name));

const receive: Command = params => {
  const network = identityIf(params, 'network_identity_priv');
  const hearing = new Hearing({
    cost: flagOf(params, 'default_required_value', false)
      ? undefined
      : (integerIf(params, 'required_value') ?? undefined),
    sources: sourcesOf(params, 'discovery_sources'),
    network,
  });
  const identity = identityIf(params, 'announce_identity_priv') ?? generateIdentity(systemRandom);
  const appData = bytesOf(params, 'app_data');
  const found = hearing.hear(appData, identity);
  return {
    callback_invoked: found !== undefined,
    callback_info_none: false,
    info_present: found !== undefined,
    accepted: found !== undefined,
    announce_identity_hash: hex(identity.hash),
    aspect_filter: hearing.name ?? null,
    required_value: hearing.cost,
    default_stamp_value: discoveryCost,
    ...(found && { info: describe(found, stampOf(appData, network)) }),
  };
};

function stampOf(appData: Uint8Array, network: Identity | undefined): Uint8Array {
  const { sealed, payload } = decodeDiscovery(appData);
  return splitStamped(sealed && network ? network.decrypt(payload) : payload).stamp;
}

const stamps: Readonly<Record<string, Command>> = {
  workblock: params => {
    const block = concat(
      ...expandMaterial(bytesOf(params, 'material'), integerIf(params, 'expand_rounds') ?? 20),
    );
    return { workblock: hex(block), length: block.length };
  },
  value: params => ({
    value: stampValue(workBlockOf([bytesOf(params, 'workblock')]), bytesOf(params, 'stamp')),
  }),
  valid: params => ({
    valid:
      stampValue(workBlockOf([bytesOf(params, 'workblock')]), bytesOf(params, 'stamp')) >=
      integerOf(params, 'cost'),
  }),
  generate: async params => {
    const block = workBlock(bytesOf(params, 'material'), integerIf(params, 'expand_rounds') ?? 20);
    const search = { clock: new BridgeClock(), random: systemRandom, signal: new AbortController().signal };
    const stamp = await searchStamp(block, integerOf(params, 'cost'), search);
    return { stamp: hex(stamp), value: stampValue(block, stamp), stamp_size: stampLength };
  },
  default_cost: () => ({
    default_stamp_value: discoveryCost,
    handler_default_required_value: new Hearing({}).cost,
  }),
};

/** Under which identity interfaces are announced: that of the announce which a node makes. */
const announceIdentity: Command = async params => {
  const network = identityIf(params, 'network_identity_priv');
  const own = identityIf(params, 'identity_priv') ?? transportIdentity;
  const isOfNetwork = flagOf(params, 'has_network_identity', false);
  const clock = new BridgeClock();
  const stop = new AbortController();
  const announced = Promise.withResolvers<{ readonly hash: Uint8Array; readonly identity: Identity }>();
  const notice = noticeOf('TCPServerInterface', { reachable_on: 'example.com', port: 4242 }, own.hash, true);
  const published = { name: 'one', interval: 1000, cost: 0, sealed: false, notice: () => notice };
  const running = publishInterfaces(
    {
      clock,
      random: systemRandom,
      log: silentLog,
      counters: new Counters(),
      networkIdentity: isOfNetwork ? network : undefined,
      published: () => [published],
      transport: {
        identity: own,
        register: ({ hash, identity }) => announced.resolve({ hash, identity: identity! }),
        deregister: () => true,
        announce: async () => true,
        onInterface: () => () => {},
        interfaces: () => [{ sends: true, online: true }] as never,
      },
    },
    stop.signal,
  );
  await settled();
  await clock.advanceTo(clock.monotonic() + 60_000);
  const { hash, identity } = await announced.promise;
  stop.abort();
  await running;
  clock.close();
  return {
    discovery_destination_hash: hex(hash),
    chosen_identity_hash: hex(identity.hash),
    network_identity_hash: hexOrNull(network?.hash),
    identity_hash: hex(own.hash),
    app_name: transportApp,
  };
};

const serverFields = (name: string): Params => ({ name, reachable_on: 'example.com', port: 4242 });

/** A stamp of little value: what is looked at is what becomes of the record. */
const littleCost = 6;

const injectRecords: Command = async params => {
  const hearing = new Hearing({ cost: 0 });
  const records = listOf(params, 'records').map(record => record as Params);
  const requested: Result[] = [];
  // The oldest was heard first.
  const inTurn = [...records].sort(
    (a, b) => (numberIf(b, 'age_seconds') ?? 0) - (numberIf(a, 'age_seconds') ?? 0),
  );
  let ago = numberIf(inTurn[0] ?? {}, 'age_seconds') ?? 0;
  for (const record of inTurn) {
    const age = numberIf(record, 'age_seconds') ?? 0;
    await hearing.clock.leapTo(hearing.clock.monotonic() + (ago - age) * 1000);
    ago = age;
    const name = textOf(record, 'name');
    const notice = noticeOf(
      'TCPServerInterface',
      serverFields(name),
      generateIdentity(systemRandom).hash,
      true,
    );
    if (notice === undefined) throw new Error('nothing to announce');
    const { appData } = await stampedNotice(notice, integerIf(record, 'stamp_value') ?? littleCost);
    const found = hearing.hear(appData, generateIdentity(systemRandom));
    if (found === undefined) throw new Error(`a genuine announce of ${name} was not taken`);
    const value = integerIf(record, 'value');
    if (value !== undefined) hearing.discovered.take({ ...found, value });
    requested.push({ name, discovery_hash: found.key });
  }
  await hearing.clock.leapTo(hearing.clock.monotonic() + ago * 1000);
  return {
    requested,
    listed: hearing.discovered.values().map(one => {
      const status = hearing.discovered.statusOf(one);
      return {
        name: shownName(one.notice),
        status,
        status_code: statusCodes[status],
        value: one.value,
        last_heard: one.heard / 1000,
        discovery_hash: one.key,
      };
    }),
    threshold_unknown: discoveredAges.unknown / 1000,
    threshold_stale: discoveredAges.stale / 1000,
    threshold_remove: discoveredAges.gone / 1000,
    status_available: statusCodes.available,
    status_unknown: statusCodes.unknown,
    status_stale: statusCodes.stale,
  };
};

const storeRecord: Command = async params => {
  const cost = integerIf(params, 'stamp_value') ?? littleCost;
  const fields = (params.fields as Params | undefined) ?? serverFields(textIf(params, 'name') ?? 'Node');
  const base = { interface_type: 'TCPServerInterface', stamp_value: cost, transport_enabled: true, fields };
  const type = textIf(params, 'set_interface_type');
  const built = await (type === undefined ? build(base) : craft({ ...base, set_interface_type: type }));
  if (built === undefined) throw new Error('nothing to announce');
  const identity = identityIf(params, 'announce_identity_priv') ?? generateIdentity(systemRandom);
  const hearing = new Hearing({ cost, sources: sourcesOf(params, 'recv_sources') });
  for (let left = integerIf(params, 'repeat') ?? 1; left > 0; left--) hearing.hear(built.appData, identity);
  const notice = decodeNotice(built.facts);
  const key = hex(discoveryKey(notice));
  const sources = sourcesOf(params, 'list_sources');
  const all = hearing.discovered.values();
  const listed = all.filter(({ networkId }) => sources === undefined || sources.has(hex(networkId)));
  return {
    // Who listens reads a client's announce as well, and keeps none.
    received:
      hearing.counters.get('discovery/malformed') + hearing.counters.get('discovery/stamp-too-cheap') === 0,
    record_type: notice.type,
    stored: all.some(one => one.key === key),
    heard_count: all.find(one => one.key === key)?.heardCount ?? null,
    discovery_hash: key,
    listed_names: listed.map(one => shownName(one.notice)),
    announce_identity_hash: hex(identity.hash),
    discoverable_types: keptTypes,
    discoverable_interface_types: discoverableTypes,
  };
};

export const commands: Commands = {
  discovery_build_announce_appdata: buildAppData,
  discovery_craft_announce: async params => {
    const crafted = await craft(params);
    if (crafted === undefined) return { aborted: true, app_data: null };
    const value = stampValue(workBlock(sha256(crafted.facts), 20), crafted.stamp);
    return { aborted: false, app_data: hex(crafted.appData), stamp_value: value, stamp_size: stampLength };
  },
  discovery_receive_announce: receive,
  discovery_stamp: params => {
    const op = textOf(params, 'op');
    if (!Object.hasOwn(stamps, op)) throw new Error(`unknown op: ${op}`);
    return stamps[op]!(params);
  },
  discovery_validate_address: params => {
    const address = textOf(params, 'address');
    return {
      is_ip_address: isIpAddress(address),
      is_hostname: isHostname(address),
      is_ygg_ipv6: isIpAddress(address) && address.includes(':') && isOutOfReach(address),
    };
  },
  discovery_sanitize_name: params => {
    const name = textIf(params, 'name');
    return {
      sanitize_name: name === undefined ? null : (cleanName(name) ?? ''),
      sanitize: name === undefined ? null : onOneLine(name),
    };
  },
  discovery_announce_identity: announceIdentity,
  discovery_inject_records: injectRecords,
  discovery_store_record: storeRecord,
};
