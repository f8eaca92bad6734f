import { z } from 'zod';

/** `bridges.mqtt` of the config file. */
export const mqttConfigSchema = z.strictObject({
  anonymous: z
    .boolean()
    .default(false)
    .describe('devices without a token may publish under dev/; everything else still needs one'),
  upstream: z
    .array(z.unknown())
    .default([])
    .refine(list => list.length === 0, 'not available in this version')
    .describe('other brokers to join; not available in this version'),
});

export type MqttConfig = z.infer<typeof mqttConfigSchema>;

/** Every bound of the broker. A client that goes beyond one is refused or disconnected, and counted. */
export const mqttLimits = {
  /** Largest MQTT packet, bytes: a sensor on the LAN needs a hundredth of it. */
  packetBytes: 256 * 1024,
  /** Connections at the same time. */
  clients: 512,
  /** Of them of one client; anonymous ones count by their IP address. */
  connectionsPerClient: 32,
  /** Messages on their way to one connection without its acknowledgement (QoS 1) or not yet written (QoS 0). */
  window: 20,
  /** A connection that leaves one of these unacknowledged (QoS 1) or unread (QoS 0) for this long is closed, ms. */
  acknowledgeTimeout: 30_000,
  /** From the first byte of a connection to a whole CONNECT, ms. */
  connectTimeout: 10_000,
  /** Persistent sessions remembered; the one unused longest is forgotten first. */
  sessions: 1024,
  /**
   * Messages kept for a persistent session while it is away, their bytes, and the bytes of all sessions together;
   * what comes after them is dropped. A message counts with its topic and what it takes to keep it.
   */
  queue: 1000,
  queueBytes: 1024 * 1024,
  queuesBytes: 64 * 1024 * 1024,
  /** Retained topics and their bytes together. */
  retainedTopics: 4096,
  retainedBytes: 16 * 1024 * 1024,
  /** QoS 2 publishes of one client that wait for its PUBREL; only their packet ids are kept. */
  inboundHandshakes: 100,
  /** Filters of one connection, and the characters of one. */
  subscriptions: 100,
  filterLength: 1024,
  /** A client that does not read for this long is disconnected, ms. */
  drainTimeout: 30_000,
} as const;
