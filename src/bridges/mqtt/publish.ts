import { createHash } from 'node:crypto';
import type { BridgePort } from '../../gateway/bridge.ts';
import type { Client, Desk } from '../../gateway/desk.ts';
import type { JsonValue } from '../../gateway/message.ts';
import type { Clock } from '../../lib/clock.ts';
import { GatewayError } from '../../lib/errors.ts';
import type { Random } from '../../lib/random.ts';
import { parseJson } from '../json.ts';
import { check, messageDraftSchema } from '../schema.ts';
import type { Journal } from './journal.ts';

/** What of a PUBLISH tells a repeated one from a new one. */
export interface PublishFacts {
  readonly session: string;
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: number;
  readonly dup: boolean;
  /** None for QoS 0 and for a will. */
  readonly packetId?: number;
}

/** Most a reading's line for people may have, characters. */
const longestReadingText = 200;

/**
 * The key a publish is accepted under. With QoS 1 a publish without DUP is always a new one, even where packet id and
 * payload are those of an earlier one: packet ids are used again. A DUP is the publish that last used its
 * packet id in this session, if it says the same and the client may still lack the acknowledgement; that is
 * on disk before the message is, so a client that comes back after a crash of the hub sends one message. With QoS 2 a
 * packet id is in use until its PUBREL, and the flag says nothing. Source: MQTT 3.1.1 §4.3.3; mqtt.js repeats without DUP.
 */
export function publishKey(
  facts: PublishFacts,
  parts: { readonly journal: Journal; readonly random: Random; readonly clock: Clock },
): string {
  const { session, packetId } = facts;
  const fresh = `mqtt-${Buffer.from(parts.random.bytes(16)).toString('hex')}`;
  if (packetId === undefined) {
    return fresh;
  }
  const hash = createHash('sha256')
    .update(`${facts.qos} ${facts.topic}\0`)
    .update(facts.payload)
    .digest('hex')
    .slice(0, 32);
  if (facts.dup || facts.qos === 2) {
    const known = parts.journal.recall(session, packetId);
    if (known?.hash === hash) {
      return known.key;
    }
  }
  parts.journal.remember(session, packetId, { hash, key: fresh }, parts.clock.now());
  return fresh;
}

/** Accepts what was published on `mesh/{destination}/tx`; resolves once durable. Throws as `Messages.post` does. */
export async function acceptMessage(
  desk: Desk,
  client: Client,
  destination: string,
  payload: Uint8Array,
  key: string,
): Promise<void> {
  const to = `lxmf:${destination}`;
  const text = decodeText(payload);
  const body = payload[0] === 0x7b ? parseJson(text) : { text };
  if (typeof body === 'object' && body !== null && 'to' in body) {
    const detail = 'the topic says to whom';
    throw new GatewayError('request/invalid', detail, { errors: [{ pointer: '/to', detail }] });
  }
  await desk.messages.post(client, check(messageDraftSchema, { ...(body as object), to }), key);
}

export interface Reading {
  readonly device: string;
  readonly values: Readonly<Record<string, JsonValue>>;
  /** ms epoch. */
  readonly at: number;
}

/**
 * What a device says on `dev/{dev}/state`: a JSON object, or a scalar which becomes `{value}`. A member `_`
 * describes the reading and is none; its `ts` is the time. Throws `request/invalid`.
 */
export function readReading(device: string, payload: Uint8Array, now: number): Reading {
  const value = parseJson(decodeText(payload)) as JsonValue;
  if (typeof value !== 'object' || value === null) {
    return { device, values: { value }, at: now };
  }
  if (Array.isArray(value)) {
    const detail = 'a reading is a JSON object or one value';
    throw new GatewayError('request/invalid', detail, { errors: [{ pointer: '', detail }] });
  }
  const { _: about, ...values } = value as Record<string, JsonValue>;
  const ts = typeof about === 'object' && about !== null && 'ts' in about ? about.ts : undefined;
  return { device, values, at: typeof ts === 'number' && Number.isSafeInteger(ts) && ts > 0 ? ts : now };
}

/** A reading as a person reads it: `greenhouse: t 21.5, h 44`. */
export function readingText({ device, values }: Reading): string {
  const said = Object.entries(values).map(([name, value]) =>
    `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`.slice(0, longestReadingText),
  );
  const line = `${device}: ${said.join(', ') || 'nothing'}`;
  return line.length > longestReadingText ? `${line.slice(0, longestReadingText - 1)}…` : line;
}

/** Accepts a device's reading for `room:sensors`; resolves once durable. */
export async function acceptReading(
  port: BridgePort,
  reading: Reading,
  facts: { readonly key: string; readonly known: boolean },
): Promise<void> {
  await port.accept({
    remoteId: facts.key,
    from: `mqtt:dev/${reading.device}`,
    to: 'room:sensors',
    type: 'sensor.reading',
    text: readingText(reading),
    data: { device: reading.device, values: reading.values, at: reading.at },
    sentAt: reading.at,
    assurance: facts.known ? 'hub' : 'unverified',
  });
}

function decodeText(payload: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
  } catch (cause) {
    throw new GatewayError('request/invalid', 'the payload is not UTF-8', {
      cause,
      errors: [{ pointer: '', detail: 'not UTF-8' }],
    });
  }
}
