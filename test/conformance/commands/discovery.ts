import { configSchema } from '../../../src/config.ts';
import { concat } from '../../../src/lib/bytes.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import type { DiscoveredInterface } from '../../../src/mesh/reticulum/discovered.ts';
import { publishInterfaces } from '../../../src/mesh/reticulum/discovery-publisher.ts';
import {
  cleanName,
  decodeDiscovery,
  discoveryCost,
  onOneLine,
  shownName,
  splitStamped,
} from '../../../src/mesh/reticulum/discovery-wire.ts';
import { generateIdentity, type Identity } from '../../../src/mesh/reticulum/identity.ts';
import { sha256 } from '../../../src/mesh/reticulum/packet.ts';
import { transportApp } from '../../../src/mesh/reticulum/probe.ts';
import { isHostname, isIpAddress, isOutOfReach } from '../../../src/mesh/reticulum/reachable-on.ts';
import { referenceEntry } from '../../../src/mesh/reticulum/reference-entry.ts';
import {
  expandMaterial,
  searchStamp,
  stampLength,
  stampValue,
  workBlock,
  workBlockOf,
} from '../../../src/mesh/reticulum/stamp.ts';
import { BridgeClock, settled } from '../clock.ts';
import type { Command, Commands, Result } from '../command.ts';
import { bytesOf, flagOf, hex, hexOrNull, integerIf, integerOf, textIf, textOf } from '../params.ts';
import { build, craft, identityIf, sourcesOf, transportIdentity } from './discovery-making.ts';
import { Hearing, noticeOf } from './discovery-parts.ts';
import { injectRecords, storeRecord } from './discovery-records.ts';

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
    config_entry: referenceEntry(notice),
    hops,
    received: fraction(heard / 1000),
    ...Object.fromEntries(Object.entries(optional).filter(([, one]) => one !== undefined)),
  };
}

/** JSON has no floats: what happens to be whole would be read as an integer. */
const fraction = (seconds: number): number => (Number.isInteger(seconds) ? seconds + 0.0005 : seconds);

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
    callback_invoked: found !== undefined || hearing.kindless,
    callback_info_none: hearing.kindless,
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
  // What a configuration that says nothing of it comes to.
  discovery_feature_defaults: () => {
    const { mesh, interfaces } = configSchema.parse({
      interfaces: [{ name: 'one', kind: 'tcp-server', port: 4242 }],
    });
    const { discovery } = mesh;
    const isAnnounced = interfaces.some(one => 'discoverable' in one && one.discoverable !== undefined);
    return {
      interface_discoverable: isAnnounced,
      interface_supports_discovery: isAnnounced,
      discover_interfaces: discovery.listen,
      should_autoconnect_discovered_interfaces: discovery.autoconnect.most > 0,
      max_autoconnected_interfaces: discovery.autoconnect.most,
    };
  },
  discovery_inject_records: injectRecords,
  discovery_store_record: storeRecord,
};
