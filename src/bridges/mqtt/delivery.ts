import type { Delivery, Progress } from '../../gateway/bridge.ts';
import { type Address, nameOf } from '../../gateway/message.ts';
import { GatewayError } from '../../lib/errors.ts';
import { messageJson } from '../schema.ts';
import { jsonPayload } from './feeds.ts';
import { mayHear } from './rights.ts';
import type { Session } from './session.ts';
import type { Topics } from './topics.ts';

/** Where a `mqtt:` address leads: a topic, and whose connection it must reach. */
export interface Target {
  readonly topic: string;
  readonly device?: string;
}

/**
 * The topic of an address. `mqtt:dev/<dev>` is a device: its `dev/<dev>/set` in the tree. Anything else is a
 * literal topic, of which `kos/…` holds only what devices listen to. Throws `bridge/rejected`.
 */
export function targetOf(address: Address, topics: Topics): Target {
  const name = nameOf(address);
  const device = /^dev\/([a-z0-9-]{1,32})$/.exec(name)?.[1];
  if (device !== undefined) {
    return { topic: topics.device(device, 'set'), device };
  }
  if (name === '' || /[+#\0]/.test(name) || name.split('/').length > 100) {
    throw new GatewayError('bridge/rejected', `${name} is no MQTT topic`);
  }
  const topic = topics.parse(name);
  if (topic.kind === 'device' && /^(?:set(?:\/.*)?|get)$/.test(topic.leaf)) {
    return { topic: name, device: topic.device };
  }
  if (topic.kind !== 'literal') {
    throw new GatewayError('bridge/rejected', `${name} belongs to the hub`);
  }
  return { topic: name };
}

/** Whether a delivery to the target may go to this connection: a device's own, or any that listens to a literal topic. */
export function takes(session: Session, topics: Topics, { topic, device }: Target): boolean {
  return (device === undefined || session.who.client?.name === device) && listens(session, topics, topic);
}

/** Whether the connection is subscribed to the topic and may hear it. */
function listens(session: Session, topics: Topics, topic: string): boolean {
  return session.qosFor(topic) !== undefined && mayHear(session.who, topics, topic);
}

/**
 * Publishes a message to everybody who listens to its address now. `onWritten` is called when a QoS 1 subscriber
 * has been given it; `delivered` once one acknowledged, `sent` where all subscribed with QoS 0. Throws `bridge/unavailable` while nobody listens
 * or the connection broke before the acknowledgement, `bridge/rejected` for an address that is no topic.
 */
export async function deliverTo(
  sessions: Iterable<Session>,
  topics: Topics,
  delivery: Delivery,
  onWritten: () => void,
  signal: AbortSignal,
): Promise<Progress> {
  const target = targetOf(delivery.to, topics);
  const { topic, device } = target;
  const listeners = [...sessions].filter(session => listens(session, topics, topic));
  const wanted = listeners.filter(session => takes(session, topics, target));
  if (wanted.length === 0) {
    throw new GatewayError(
      'bridge/unavailable',
      device === undefined ? `nobody is subscribed to ${topic}` : `device ${device} is not connected`,
      { retryable: true },
    );
  }
  const payload = jsonPayload(messageJson(delivery.message));
  for (const session of listeners) {
    // Somebody who merely watches a device's topic gets a copy if there is room, and is not waited for.
    if (!wanted.includes(session) && session.hasRoom) {
      void session.write(topic, payload, 0);
    }
  }
  const attempts = wanted.map(async session => {
    const qos = session.qosFor(topic) ?? 0;
    if (!(await session.room(signal))) {
      throw gone;
    }
    const taken = session.write(topic, payload, qos);
    if (qos === 1) {
      onWritten();
    }
    return (await taken) ? qos : Promise.reject(gone);
  });
  const aborted = rejectOnAbort(signal);
  try {
    return await Promise.race([outcome(attempts, topic), aborted.promise]);
  } finally {
    aborted.stop();
  }
}

const gone = new GatewayError('bridge/unavailable', 'the connection ended', { retryable: true });

/** `delivered` as soon as one acknowledged, `sent` when all that are left took it without one. */
async function outcome(attempts: readonly Promise<0 | 1>[], topic: string): Promise<Progress> {
  const acknowledgements = attempts.map(async attempt => ((await attempt) === 1 ? 1 : Promise.reject(gone)));
  try {
    await Promise.any(acknowledgements);
    return { state: 'delivered' };
  } catch {
    const results = await Promise.allSettled(attempts);
    if (results.some(result => result.status === 'fulfilled')) {
      return { state: 'sent' };
    }
    throw new GatewayError('bridge/unavailable', `the subscriber of ${topic} left before it acknowledged`, {
      retryable: true,
    });
  }
}

function rejectOnAbort(signal: AbortSignal): { readonly promise: Promise<never>; readonly stop: () => void } {
  let stop = () => {};
  const promise = new Promise<never>((_, reject) => {
    const abort = () => reject(signal.reason);
    stop = () => signal.removeEventListener('abort', abort);
    if (signal.aborted) {
      abort();
    } else {
      signal.addEventListener('abort', abort, { once: true });
    }
  });
  return { promise, stop };
}
