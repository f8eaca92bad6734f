import { concat } from '../../../src/lib/bytes.ts';
import { randomBlobLength } from '../../../src/mesh/reticulum/announce.ts';
import { contexts, decodePacket, hashLength } from '../../../src/mesh/reticulum/packet.ts';
import type { PathAnswer } from '../../../src/mesh/reticulum/relay.ts';
import type { ReverseEntry } from '../../../src/mesh/reticulum/reverse-table.ts';
import { type TransitLink, transitLifetime } from '../../../src/mesh/reticulum/transit-links.ts';
import { settled } from '../clock.ts';
import type { Command, Commands, Params, Result } from '../command.ts';
import { bytesIf, bytesOf, flagOf, hex, integerIf, numberIf, numberOf, textOf } from '../params.ts';
import { epochAt, epochOf, type Instance, idOf, instanceOf, type Mock, mockOf } from './instance.ts';

/*
 * Looks into the tables of a node, and makes what is in them old. Entries are never changed: the node's clock goes
 * forward, and whatever the node then does it does by its own timers.
 */

const keyOf = (params: Params, name = 'dest'): string => hex(bytesOf(params, name, hashLength));

/** ms between two looks for what is over. */
const cullEvery = 5000;

/** s epoch from which a moment is taken to be never. */
const never = 10 ** 11;

const transitOf = (params: Params) => {
  const { forwarding } = instanceOf(params).transport.tables;
  if (forwarding === undefined) throw new Error('the node carries nothing for others');
  return forwarding.transit.tables;
};

/** The next look at the tables is to be at this monotonic time, or later. */
function dueAt(instance: Instance, time: number): void {
  instance.due = Math.max(instance.due ?? 0, time);
}

const readPathTable: Command = params => {
  const instance = instanceOf(params);
  const path = instance.transport.tables.paths.get(keyOf(params));
  if (path === undefined) return { found: false };
  const { blobs, used, heard } = path;
  const count = blobs.length / randomBlobLength;
  return {
    found: true,
    hops: path.hops,
    next_hop: hex(path.nextHop),
    timestamp: epochOf(instance, Math.max(used, heard)),
    expires: epochOf(instance, path.expires + Math.max(0, used - heard)),
    random_blobs: Array.from({ length: count }, (_, at) =>
      hex(blobs.subarray(at * randomBlobLength, (at + 1) * randomBlobLength)),
    ),
    receiving_interface: path.interfaceName,
    receiving_interface_hash: null,
    packet_hash: hex(path.packetHash),
  };
};

/** Time goes on until the path was heard as long ago as it is to be. */
const setPathTimestamp: Command = async params => {
  const instance = instanceOf(params);
  const { clock, transport } = instance;
  const path = transport.tables.paths.get(keyOf(params));
  if (path === undefined) return { set: false };
  const age = Date.now() - numberOf(params, 'timestamp') * 1000;
  const has = clock.now() - Math.max(path.used, path.heard);
  if (age > has) await clock.advanceTo(clock.monotonic() + age - has);
  return { set: true };
};

const setPathExpires: Command = async params => {
  const { clock, transport } = instanceOf(params);
  const path = transport.tables.paths.get(keyOf(params));
  if (path === undefined) return { set: false };
  const isOver = numberOf(params, 'expires') * 1000 <= Date.now();
  const left = path.expires + (path.used - path.heard) - clock.now();
  // A path that is over is forgotten when it is next asked for, with what it said of older announces.
  if (isOver && left > 0) await clock.advanceTo(clock.monotonic() + left);
  return { set: true };
};

/** An announce on its way to others, or a path about to be told to who asked for it. */
const readAnnounceTable: Command = params => {
  const instance = instanceOf(params);
  const { forwarding, paths } = instance.transport.tables;
  const key = keyOf(params);
  const path = paths.get(key);
  if (path === undefined) return { found: false };
  const common = {
    found: true,
    received_from: hex(path.nextHop),
    packet_hash: hex(path.packetHash),
    attached_interface: null,
    local_rebroadcasts: 0,
  };
  const state = forwarding?.relay.passingOn(key);
  if (state !== undefined) {
    const frozen = instance.frozen.get(key);
    return {
      ...common,
      retries: state.sent,
      hops: state.hops,
      timestamp: epochOf(instance, path.heard),
      retransmit_timeout: frozen?.state === state ? frozen.timeout : epochAt(instance, state.due),
      local_rebroadcasts: state.echoes,
      block_rebroadcasts: false,
    };
  }
  const answer = answerOf(instance, key);
  if (answer !== undefined) {
    return {
      ...common,
      retries: 0,
      hops: path.hops,
      timestamp: epochAt(instance, answer.since),
      retransmit_timeout: epochAt(instance, answer.due),
      block_rebroadcasts: true,
      attached_interface: idOf(instance, answer.iface),
    };
  }
  const left = leftForProgram(instance, key, path.interfaceName);
  if (left === undefined) return { found: false };
  const { at, mock, isAnswer } = left;
  return {
    ...common,
    retries: 1,
    hops: path.hops,
    timestamp: epochAt(instance, at),
    retransmit_timeout: epochAt(instance, at),
    block_rebroadcasts: isAnswer,
    attached_interface: isAnswer ? mock.id : null,
  };
};

/** What programs of this machine say and are told waits in no table: it left in the turn in which it came. */
function leftForProgram(
  { mocks }: Instance,
  key: string,
  from: string,
): { readonly at: number; readonly mock: Mock; readonly isAnswer: boolean } | undefined {
  const all = [...mocks.values()];
  const isProgram = (mock: Mock | undefined) => mock?.attachment.policy.local === 'programs';
  const isOfProgram = isProgram(all.find(({ iface }) => iface.name === from));
  for (const mock of all) {
    for (const { packet, at } of mock.iface.peek()) {
      const { packetType, context, destinationHash } = decodePacket(packet);
      const isAnswer = context === contexts.pathResponse;
      const isSo = isAnswer ? isProgram(mock) : isOfProgram && !isProgram(mock);
      if (packetType === 'announce' && hex(destinationHash) === key && isSo) return { at, mock, isAnswer };
    }
  }
  return undefined;
}

function answerOf({ transport }: Instance, key: string): PathAnswer | undefined {
  return [...(transport.tables.forwarding?.relay.answers() ?? [])].find(answer => answer.key === key);
}

/** Time stands still until an announce is to leave, or it is to leave with the next look at the tables. */
const setAnnounceTimestamp: Command = params => {
  const instance = instanceOf(params);
  const key = keyOf(params);
  const due = (instance.transport.tables.forwarding?.relay.passingOn(key) ?? answerOf(instance, key))?.due;
  if (due === undefined) return { set: false };
  const timeout = numberIf(params, 'retransmit_timeout');
  if (timeout === undefined) return { set: true };
  const state = instance.transport.tables.forwarding?.relay.passingOn(key);
  if (timeout < never) {
    instance.frozen.delete(key);
    dueAt(instance, due);
    return { set: true };
  }
  instance.clock.hold();
  if (state !== undefined) instance.frozen.set(key, { state, timeout });
  return { set: true };
};

/** What is due by now is done. */
const forceCull: Command = async params => {
  const instance = instanceOf(params);
  // Announces that are due within a moment leave together.
  const moment = 25;
  if (instance.due !== undefined) await instance.clock.leapTo(instance.due + moment);
  instance.due = undefined;
  await settled();
  return { culled: true };
};

function describeReverse(instance: Instance, key: string, entry: ReverseEntry): Result {
  return {
    key,
    received_if: idOf(instance, entry.receivedOn),
    outbound_if: idOf(instance, entry.sentOn),
    received_if_name: entry.receivedOn.name,
    outbound_if_name: entry.sentOn.name,
  };
}

/** One whose proof went back is kept only to know a forged one by. */
const readReverseTable: Command = params => {
  const instance = instanceOf(params);
  const open = [...transitOf(params).reverse.entries()].filter(([, { passed }]) => !passed);
  const wanted = bytesIf(params, 'dest');
  if (wanted === undefined)
    return { entries: open.map(([key, entry]) => describeReverse(instance, key, entry)) };
  const found = open.find(([key]) => key === hex(wanted));
  return found ? { found: true, ...describeReverse(instance, ...found) } : { found: false };
};

const seedReverseTable: Command = params => {
  const instance = instanceOf(params);
  const key = bytesOf(params, 'key', hashLength);
  const age = (numberIf(params, 'timestamp_age_s') ?? 0) * 1000;
  transitOf(params).reverse.add(concat(key, new Uint8Array(hashLength)), {
    receivedOn: mockOf(params, 'rcvd_iface_id').attachment,
    sentOn: mockOf(params, 'outb_iface_id').attachment,
    destinationHash: key,
  });
  if (age > 0) dueAt(instance, instance.clock.monotonic() + age);
  return { seeded: true, key: hex(key) };
};

function describeLink(instance: Instance, link: TransitLink): Result {
  const { paths } = instance.transport.tables;
  const path = paths.get(hex(link.destinationHash));
  return {
    link_id: link.key,
    timestamp: epochAt(instance, link.proven ? link.until - transitLifetime : instance.clock.monotonic()),
    next_hop_transport_id: path && path.hops > 1 ? hex(path.nextHop) : null,
    next_hop_if: idOf(instance, link.sentOn),
    remaining_hops: link.remainingHops,
    received_if: idOf(instance, link.receivedOn),
    hops: link.takenHops,
    destination_hash: hex(link.destinationHash),
    validated: link.proven,
    proof_timeout: epochAt(instance, link.until),
  };
}

const readLinkTable: Command = params => {
  const instance = instanceOf(params);
  const { links } = transitOf(params);
  const wanted = bytesIf(params, 'link_id');
  if (wanted === undefined) return { entries: [...links.values()].map(link => describeLink(instance, link)) };
  const link = links.get(hex(wanted));
  return link ? { found: true, ...describeLink(instance, link) } : { found: false };
};

const seedLinkTable: Command = params => {
  const instance = instanceOf(params);
  const { links } = transitOf(params);
  const hash = bytesOf(params, 'dest', hashLength);
  const now = instance.clock.monotonic();
  const proven = flagOf(params, 'validated', true);
  const link: TransitLink = {
    key: hex(hash),
    receivedOn: mockOf(params, 'rcvd_iface_id').attachment,
    sentOn: mockOf(params, 'nh_iface_id').attachment,
    takenHops: integerIf(params, 'hops') ?? 99,
    remainingHops: integerIf(params, 'rem_hops') ?? 99,
    destinationHash: hash,
    proven: false,
    until: now + (numberIf(params, 'proof_timeout_in_s') ?? 60) * 1000,
  };
  links.add(link);
  if (proven) {
    links.prove(link);
    link.until -= (numberIf(params, 'timestamp_age_s') ?? 0) * 1000;
  }
  dueAt(instance, now + cullEvery);
  return { seeded: true, dest: hex(hash) };
};

export const tableCommands: Commands = {
  behavioral_read_path_table: readPathTable,
  behavioral_set_path_timestamp: setPathTimestamp,
  behavioral_set_path_expires: setPathExpires,
  behavioral_mark_path_unresponsive: params => {
    const { transport } = instanceOf(params);
    const key = keyOf(params);
    transport.markUnresponsive(bytesOf(params, 'dest', hashLength));
    return { marked: transport.tables.paths.get(key)?.unresponsive === true };
  },
  behavioral_read_announce_table: readAnnounceTable,
  behavioral_set_announce_timestamp: setAnnounceTimestamp,
  behavioral_force_cull: forceCull,
  behavioral_read_announce_rate: params => {
    const instance = instanceOf(params);
    const wanted = textOf(params, 'dest');
    const rate = [...instance.transport.announceRates()].find(
      ({ destinationHash }) => hex(destinationHash) === wanted,
    );
    if (rate === undefined) return { found: false };
    return {
      found: true,
      last: epochOf(instance, rate.last),
      rate_violations: rate.violations,
      blocked_until: rate.blockedUntil === 0 ? 0 : epochOf(instance, rate.blockedUntil),
      timestamps: rate.heard.map(time => epochOf(instance, time)),
    };
  },
  behavioral_read_reverse_table: readReverseTable,
  behavioral_seed_reverse_table: seedReverseTable,
  behavioral_read_link_table: readLinkTable,
  behavioral_seed_link_table: seedLinkTable,
};
