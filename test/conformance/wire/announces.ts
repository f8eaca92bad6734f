import { readAnnounce } from '../../../src/mesh/reticulum/announce.ts';
import { LocalDestination } from '../../../src/mesh/reticulum/destination.ts';
import { generateIdentity } from '../../../src/mesh/reticulum/identity.ts';
import { decodePacket } from '../../../src/mesh/reticulum/packet.ts';
import { decodePathRequest, pathRequestDestination } from '../../../src/mesh/reticulum/path-request.ts';
import type { Commands, Params } from '../command.ts';
import { bytesIf, bytesOf, flagOf, hex, hexOrNull, numberIf, textOf, textsOf } from '../params.ts';
import { nodeOf } from './node.ts';
import { announcedRatchets, backdate } from './ratchets.ts';
import { destinationOf, stateOf } from './state.ts';
import { timeoutOf, until } from './waiting.ts';

export const commands: Commands = {
  async wire_announce(params) {
    const node = nodeOf(params);
    const ratchets = flagOf(params, 'enable_ratchets', false);
    const destination = new LocalDestination({
      identity: generateIdentity(node.random),
      appName: textOf(params, 'app_name'),
      aspects: textsOf(params, 'aspects'),
      ratchets,
    });
    node.transport.register(destination);
    stateOf(node).destinations.set(destination.key, destination);
    const appData = bytesIf(params, 'app_data');
    await node.transport.announce(destination, appData === undefined ? {} : { appData });
    return {
      destination_hash: destination.key,
      identity_hash: hex(destination.identity!.hash),
      ...(ratchets ? announcedRatchets(node, destination) : {}),
    };
  },

  async wire_reannounce(params) {
    const node = nodeOf(params);
    const destination = destinationOf(params);
    const ago = numberIf(params, 'rotate_ago_s');
    if (ago !== undefined && destination.ratchets) backdate(node, destination, ago);
    const appData = bytesIf(params, 'app_data');
    await node.transport.announce(destination, appData === undefined ? {} : { appData });
    const ratchets = destination.ratchets ? announcedRatchets(node, destination) : undefined;
    return { announced: true, current_ratchet_id: ratchets?.current_ratchet_id ?? null };
  },

  async wire_poll_path(params) {
    const { transport } = nodeOf(params);
    const hash = hashOf(params);
    const path = await until(() => transport.path(hash), timeoutOf(params, 5000));
    return { found: path !== undefined, hops: path?.hops ?? null };
  },

  wire_request_path(params) {
    const { transport } = nodeOf(params);
    transport.requestPath(hashOf(params), { insist: true }).catch(() => {});
    return { sent: true };
  },

  wire_read_path_entry(params) {
    const path = nodeOf(params).transport.path(hashOf(params));
    if (path === undefined) return { found: false };
    return {
      found: true,
      timestamp: Math.round(path.heard),
      expires: Math.round(path.expires),
      hops: path.hops,
      next_hop: hex(path.nextHop),
      receiving_interface_name: path.interfaceName,
    };
  },

  wire_read_path_random_hash(params) {
    const { transport } = nodeOf(params);
    const hash = hashOf(params);
    const known = transport.recall(hash);
    if (known === undefined || transport.path(hash) === undefined) return { found: false };
    return {
      found: true,
      random_hash: hex(readAnnounce(known.announce, known.announceHasRatchet).randomBlob),
    };
  },

  /** Whether this node has passed a search for the destination on. */
  wire_has_discovery_path_request(params) {
    const node = nodeOf(params);
    const wanted = hex(hashOf(params));
    const found = node.wire.sent.some(({ raw }) => {
      try {
        const packet = decodePacket(raw);
        if (hex(packet.destinationHash) !== hex(pathRequestDestination)) return false;
        const request = decodePathRequest(packet.data);
        return hex(request.destinationHash) === wanted && request.transportId !== undefined;
      } catch {
        return false;
      }
    });
    return { found };
  },

  /** Whether the announce of a destination waits to be passed on. */
  wire_has_announce_table_entry(params) {
    return { found: nodeOf(params).transport.passingOn(hashOf(params)) !== undefined };
  },

  wire_read_announce_table_timestamp(params) {
    const { clock, transport } = nodeOf(params);
    const due = transport.passingOn(hashOf(params));
    if (due === undefined) return { found: false };
    return { found: true, timestamp: Math.round(clock.now() + due - clock.monotonic()) };
  },

  async wire_identity_recall(params) {
    const { transport } = nodeOf(params);
    const hash = hashOf(params);
    const byIdentity = flagOf(params, 'from_identity_hash', false);
    const recall = () =>
      byIdentity
        ? [...transport.known()].find(({ identity }) => hex(identity.hash) === hex(hash))
        : transport.recall(hash);
    const known = await until(recall, timeoutOf(params, 0));
    const local = byIdentity ? undefined : transport.local(hash)?.identity?.public;
    const identity = known?.identity ?? local;
    if (identity === undefined) return { found: false, app_data: null };
    return {
      found: true,
      public_key: hex(identity.publicKey),
      hash: hex(identity.hash),
      app_data: hexOrNull(known?.appData),
    };
  },

  wire_first_hop_timeout(params) {
    const { transport } = nodeOf(params);
    const unknown = nodeOf(params).random.bytes(16);
    return {
      timeout: transport.firstHopTimeout(hashOf(params)) / 1000,
      default_per_hop_timeout: transport.firstHopTimeout(unknown) / 1000,
    };
  },
};

function hashOf(params: Params): Uint8Array {
  return bytesOf(params, 'destination_hash', 16);
}
