import type { BridgePort } from '../../gateway/bridge.ts';
import type { Desk } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { codeOf, type ErrorCode, type FieldError, GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Connection } from './connection.ts';
import { jsonPayload } from './feeds.ts';
import type { Journal } from './journal.ts';
import { acceptMessage, acceptReading, publishKey, readReading } from './publish.ts';
import { isOwnLeaf, publishRefusal } from './rights.ts';
import type { Session } from './session.ts';
import type { Topics } from './topics.ts';

/** A PUBLISH as the broker library hands it over; what is changed here is what it routes. */
export interface InboundPacket {
  topic: string;
  payload: string | Uint8Array;
  readonly qos: number;
  retain: boolean;
  readonly dup?: boolean;
  readonly messageId?: number | undefined;
}

export interface InboundParts {
  readonly desk: Desk;
  readonly port: BridgePort;
  readonly topics: Topics;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  /** Every connection that is in. */
  readonly sessions: Iterable<Session>;
}

/** A topic nobody can subscribe to: where a publish goes that is not for other subscribers. */
const nowhere = '$kos/taken';

/** What a device says that the next listener must still find. */
const retainedLeaves = new Set(['state', 'avail', 'info']);

/**
 * Takes one publish of a client before the broker acknowledges it; when it resolves, what had to be stored is
 * on disk. A publish that is refused is acknowledged and dropped, and the client told on `err`: MQTT 3.1.1
 * has no other way but to break the connection. Only where the hub itself cannot store does it throw, and the
 * connection ends without an acknowledgement, so that the client sends the publish again.
 */
export async function takePublish(
  connection: Connection,
  packet: InboundPacket,
  parts: InboundParts,
): Promise<void> {
  try {
    await accept(connection, packet, parts);
  } catch (error) {
    const ours = isGatewayError(error);
    if (!ours) {
      parts.log.error({ client: connection.client?.name, error }, 'a publish could not be taken');
    }
    complain(
      connection,
      packet,
      codeOf(error),
      ours ? error.message : 'internal error',
      parts,
      ours ? error.errors : [],
    );
    if (packet.qos > 0 && (!ours || error.code.startsWith('store/') || error.retryable)) {
      throw error;
    }
    drop(packet);
  }
}

async function accept(connection: Connection, packet: InboundPacket, parts: InboundParts): Promise<void> {
  const { desk, topics, counters, clock } = parts;
  const { session } = connection;
  if (session === undefined) {
    throw new GatewayError('request/unauthenticated', 'not logged in');
  }
  const { who } = session;
  const topic = topics.parse(packet.topic);
  const isClient = (name: string) => desk.clients.list().some(client => client.name === name);
  const refusal = publishRefusal(who, topic, packet.retain, isClient);
  if (refusal !== undefined) {
    throw new GatewayError('request/forbidden', refusal);
  }
  const payload = typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload;
  const acceptOnce = async (take: (key: string) => Promise<void>) => {
    const { messageId } = packet;
    const facts = {
      session: session.id,
      topic: packet.topic,
      payload,
      qos: packet.qos,
      dup: packet.dup === true,
    };
    const hasId = packet.qos > 0 && messageId !== undefined;
    const key = publishKey(hasId ? { ...facts, packetId: messageId } : facts, parts);
    await take(key);
    if (hasId && packet.qos === 1) {
      connection.acknowledged(messageId, key);
    }
  };
  if (topic.kind === 'tx' && who.client !== undefined) {
    const { client } = who;
    await acceptOnce(key => acceptMessage(desk, client, topic.destination, payload, key));
    counters.add('mqtt.tx.accepted');
    drop(packet);
  } else if (topic.kind === 'device' && isOwnLeaf(topic.leaf)) {
    packet.retain = retainedLeaves.has(topic.leaf);
    if (topic.leaf === 'state' && payload.length > 0) {
      const reading = readReading(topic.device, payload, clock.now());
      const known = who.client !== undefined;
      await acceptOnce(key => acceptReading(parts.port, reading, { key, known }));
      counters.add('mqtt.readings.accepted');
    }
  }
}

function drop(packet: InboundPacket): void {
  packet.topic = nowhere;
  packet.payload = Buffer.alloc(0);
  packet.retain = false;
}

/** Tells a client, on every connection it has, what was wrong with a publish. */
function complain(
  connection: Connection,
  packet: InboundPacket,
  code: ErrorCode,
  detail: string,
  parts: InboundParts,
  errors: readonly FieldError[],
): void {
  const { topics, counters, clock, log } = parts;
  const name = connection.client?.name;
  const { topic, messageId: id } = packet;
  counters.add(`mqtt.publish.${code}`);
  log.debug({ client: name, code, reason: detail }, 'publish refused');
  if (name === undefined) {
    return;
  }
  const payload = jsonPayload({ code, topic, client: name, id, ts: clock.now(), detail, errors });
  for (const session of parts.sessions) {
    const qos = session.who.client?.name === name ? session.qosFor(topics.err) : undefined;
    if (qos === undefined) {
      continue;
    }
    if (session.hasRoom) {
      void session.write(topics.err, payload, qos);
    } else {
      counters.add('mqtt.err.dropped');
    }
  }
}
