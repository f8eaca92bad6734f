import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { systemRandom } from '../../../src/lib/random.ts';
import { rateDefaults } from '../../../src/mesh/reticulum/announce-rate.ts';
import { endpointKey } from '../../../src/mesh/reticulum/autoconnect.ts';
import type { DiscoveredInterface } from '../../../src/mesh/reticulum/discovered.ts';
import type { InterfaceNotice } from '../../../src/mesh/reticulum/discovery-wire.ts';
import { transportApp } from '../../../src/mesh/reticulum/probe.ts';
import { pathHash } from '../../../src/mesh/reticulum/request.ts';
import { usualPort } from '../../../src/radio/local-config.ts';
import { createAutoconnect } from '../../../src/start/autoconnect.ts';
import { openRpcKey } from '../../../src/start/rpc/key.ts';
import { settled } from '../clock.ts';
import type { Commands } from '../command.ts';
import { hex } from '../params.ts';
import { strategies } from './listeners.ts';
import type { Managed } from './managed.ts';
import { type Node, nodeOf } from './node.ts';

/** Code point of the reference's API: requests are answered to those of a list. */
const allowList = 2;
const managedPaths = ['/status', '/path'];

export const commands: Commands = {
  /** Which of the suite's settings are at work in the node. */
  wire_instance_posture(params) {
    const { settings, managed, isShared, isProgram } = nodeOf(params);
    const { forwards, explicitProofs, managers, blackholeSources, discoverySources } = settings;
    return {
      transport_enabled: forwards,
      remote_management_enabled: managed.has('management'),
      respond_to_probes: managed.has('probe'),
      should_use_implicit_proof: !explicitProofs,
      link_mtu_discovery: true,
      remote_management_allowed: [...(managers ?? [])],
      panic_on_interface_error: settings.exitsOnInterfaceError,
      blackhole_sources: blackholeSources,
      interface_discovery_sources: discoverySources,
      is_shared_instance: isShared,
      is_connected_to_shared_instance: isProgram,
    };
  },

  wire_mgmt_destinations(params) {
    const node = nodeOf(params);
    return {
      transport_identity_hash: hex(node.identity.hash),
      app_name: transportApp,
      probe: managedOf(node, node.managed.get('probe')),
      remote_management: managedOf(node, node.managed.get('management')),
    };
  },

  wire_rpc_authkey(params) {
    const node = nodeOf(params);
    return { rpc_key: hex(rpcKeyOf(node)), transport_private_key: hex(node.identity.exportPrivateKey()) };
  },

  wire_interface_transport_defaults() {
    return {
      local_interface_port: usualPort,
      ar_target: rateDefaults.target / 1000,
      ar_penalty: rateDefaults.penalty / 1000,
      ar_grace: rateDefaults.grace,
    };
  },

  /** What would be connected to by itself, of kinds and places that must not be. */
  async wire_discovery_autoconnect_gate() {
    const probe = found({ type: 'BackboneInterface', reachableOn: '10.9.9.9' });
    if ((await connectedTo(probe)).interfaces_added !== 1) throw new Error('nothing at all is connected to');
    return {
      wrong_type: await connectedTo(found({ type: 'UDPInterface', reachableOn: '10.0.0.5' })),
      tcp_client: await connectedTo(found({ type: 'TCPClientInterface', reachableOn: '10.0.0.6' })),
      i2p: await connectedTo(found({ type: 'I2PInterface', reachableOn: 'abcdefgh.b32.i2p' })),
      yggdrasil: await connectedTo(found({ type: 'BackboneInterface', reachableOn: '200::1' })),
      endpoint_hash: endpointKey(probe),
      endpoint_spec: '10.9.9.9:4242',
    };
  },
};

/** The key by which programs of this machine and the node know each other, as the program makes or reads it. */
export function rpcKeyOf({ identity, settings: { rpcKey } }: Node): Uint8Array {
  const data = mkdtempSync(join(tmpdir(), 'kos-conformance-'));
  try {
    if (rpcKey !== undefined) writeFileSync(join(data, 'rpc_key'), hex(rpcKey));
    return openRpcKey(data, identity);
  } finally {
    rmSync(data, { recursive: true });
  }
}

function managedOf({ transport, settings }: Node, managed: Managed | undefined) {
  const destination = managed && transport.local(managed.destination.hash);
  if (managed === undefined || destination === undefined) return { present: false };
  const handlers = managedPaths.flatMap(path => managed.handlers?.find(pathHash(path)) ?? []);
  return {
    present: true,
    hash: hex(destination.hash),
    name: destination.name,
    proof_strategy: strategies[destination.proofStrategy],
    accepts_links: destination.acceptsLinks,
    in_mgmt_destinations: true,
    in_mgmt_hashes: true,
    request_handlers: handlers.map(({ path, allow }) => ({
      path,
      path_hash: hex(pathHash(path)),
      allow: allow === 'all' ? 1 : allowList,
      allowed_hashes: allow === 'all' ? [] : [...allow],
      allowed_list_is_acl: allow === settings.managers,
    })),
  };
}

/** How many interfaces a hub adds that has found this one alone, and takes of it what it may. */
async function connectedTo(one: DiscoveredInterface) {
  let added = 0;
  const stop = new AbortController();
  const running = createAutoconnect({
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    counters: new Counters(),
    config: { most: 1, unverified: true, privateAddresses: true, mode: 'gateway' },
    discovered: { values: () => [one], statusOf: () => 'available' },
    isWanted: () => true,
    live: {
      list: () => [],
      get: () => undefined,
      add: async () => {
        added += 1;
      },
      remove: async () => {},
    },
    lookup: async host => [host],
  }).run(stop.signal);
  // It has looked at what it knows before it first waits.
  await settled();
  stop.abort();
  await running;
  return { interfaces_added: added };
}

/** An interface that was announced, of a node that is verified. */
function found(notice: { type: string; reachableOn: string }): DiscoveredInterface {
  return {
    key: '',
    notice: { ...notice, port: 4242, transport: true } as unknown as InterfaceNotice,
    facts: new Uint8Array(),
    networkId: new Uint8Array(16),
    value: 14,
    hops: 1,
    discovered: 0,
    heard: 0,
    heardCount: 0,
  };
}
