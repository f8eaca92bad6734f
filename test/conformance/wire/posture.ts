import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rateDefaults } from '../../../src/mesh/reticulum/announce-rate.ts';
import { endpointKey, refusalOf } from '../../../src/mesh/reticulum/autoconnect.ts';
import type { DiscoveredInterface } from '../../../src/mesh/reticulum/discovered.ts';
import type { InterfaceNotice } from '../../../src/mesh/reticulum/discovery-wire.ts';
import { transportApp } from '../../../src/mesh/reticulum/probe.ts';
import { pathHash } from '../../../src/mesh/reticulum/request.ts';
import { usualPort } from '../../../src/radio/local-config.ts';
import { openRpcKey } from '../../../src/start/rpc/key.ts';
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
  wire_discovery_autoconnect_gate() {
    const probe = found({ type: 'BackboneInterface', reachableOn: '10.9.9.9' });
    const added = (one: DiscoveredInterface) => ({
      interfaces_added: refusalOf(one, { unverified: true, privateAddresses: true }) === undefined ? 1 : 0,
    });
    if (added(probe).interfaces_added !== 1) throw new Error('nothing at all is connected to');
    return {
      wrong_type: added(found({ type: 'UDPInterface', reachableOn: '10.0.0.5' })),
      tcp_client: added(found({ type: 'TCPClientInterface', reachableOn: '10.0.0.6' })),
      i2p: added(found({ type: 'I2PInterface', reachableOn: 'abcdefgh.b32.i2p' })),
      yggdrasil: added(found({ type: 'BackboneInterface', reachableOn: '200::1' })),
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
