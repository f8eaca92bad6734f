import type { Duplex } from 'node:stream';
import { Aedes, type Client as LibraryClient } from 'aedes';
import type { BridgePort, Delivery, Progress } from '../../gateway/bridge.ts';
import type { Address } from '../../gateway/message.ts';
import { codeOf, GatewayError, isGatewayError } from '../../lib/errors.ts';
import { lastResort } from '../last-resort.ts';
import type { MqttParts } from './bridge.ts';
import { mqttLimits } from './config.ts';
import { Connection, type ConnectionParts, connectionsLike } from './connection.ts';
import { deliverTo, takes, targetOf } from './delivery.ts';
import { jsonPayload } from './feeds.ts';
import { type InboundParts, takePublish } from './inbound.ts';
import type { Journal } from './journal.ts';
import { crowded, judge, unavailable, type Verdict } from './login.ts';
import { Persistence } from './persistence.ts';
import { RecentSet } from './recent.ts';
import { mayHear, maySubscribe } from './rights.ts';
import { Session } from './session.ts';
import { peekOpening, watchReads } from './stream.ts';
import { topicsOf } from './topics.ts';
import { PacketScanner, packetTypes, refuseVersion, refuseVersion5 } from './wire.ts';

/** The broker while it runs. */
export interface Broker {
  /** Takes over a fresh connection; `foreign` marks a browser's page from another place. */
  adopt(stream: Duplex, remote: string, foreign: boolean): void;
  deliver(delivery: Delivery, signal: AbortSignal): Promise<Progress>;
  /** Says that the hub goes offline and ends every connection. */
  close(): Promise<void>;
}

/** Addresses that deliveries wait for; more than these are found by the outbox's own clock. */
const mostWaiting = 1024;

/** Between two looks for what the journal need not keep, ms. */
const purgeEvery = 60 * 60 * 1000;

const version5 = 'MQTT 5 is not built yet: set the client to MQTT 3.1.1 (protocol version 4)';

/** The part of a library client that its types keep to themselves. */
interface Internals {
  _nextId: number;
}

/** Opens the broker: restores what is retained, says that the hub is online, takes connections. */
export async function openBroker(parts: MqttParts, port: BridgePort, journal: Journal): Promise<Broker> {
  const { desk, access, clock, random, log, counters, config } = parts;
  const topics = topicsOf(desk.hub.id);
  const connections = new WeakMap<LibraryClient, Connection>();
  const open = new Set<Duplex>();
  const live = new Set<Connection>();
  const sessions = new Set<Session>();
  const waiting = new RecentSet(mostWaiting);
  const connectionParts: ConnectionParts = {
    desk,
    topics,
    clock,
    log,
    counters,
    journal,
    positions: new Map(),
  };
  const inbound: InboundParts = { desk, port, topics, journal, clock, random, log, counters, sessions };
  let closing = false;

  /** For what the library calls from where a throw would end the process. True if it went well. */
  const attempt = (what: string, action: () => void): boolean => {
    try {
      action();
      return true;
    } catch (error) {
      counters.add('mqtt.internal');
      log.error({ what, code: codeOf(error), error }, 'MQTT broker failure');
      return false;
    }
  };

  const persistence = new Persistence({
    counters,
    onRetained(topic, payload) {
      const { kind, ...place } = topics.parse(topic);
      // Whether a device is there now is not known after a restart; what it last measured is.
      if (kind === 'device' && 'leaf' in place && place.leaf !== 'avail') {
        attempt('retain', () => journal.retain(topic, payload));
      }
    },
    onReleased: (session, packetId) => attempt('release', () => journal.forget(session, packetId)),
  });

  const library = await Aedes.createBroker({
    persistence,
    connectTimeout: mqttLimits.connectTimeout,
    drainTimeout: mqttLimits.drainTimeout,
    maxInflightInbound: mqttLimits.inboundHandshakes,
    // Ids carry the client's name here; `judge` holds the limit.
    maxClientsIdLength: 65_535,
    preConnect(client, packet, done) {
      const connection = connections.get(client);
      if (connection === undefined) {
        client.close();
        return;
      }
      const credentials = {
        ...packet,
        level: packet.protocolVersion ?? 4,
        clientId: packet.clientId ?? '',
        clean: packet.clean === true,
      };
      const anonymous = config.anonymous && !connection.foreign;
      let verdict: Verdict = unavailable;
      attempt('log-in', () => {
        verdict = judge(credentials, connection.remote, { access, random, anonymous });
      });
      if (connectionsLike(verdict, connection.remote, live) >= mqttLimits.connectionsPerClient) {
        verdict = crowded;
      }
      connection.verdict = verdict;
      if (verdict.admitted) {
        packet.clientId = verdict.sessionId;
        packet.clean = verdict.clean;
      } else {
        // Nothing a refused client says may touch a session that is not its own.
        packet.clientId = `refused/${Buffer.from(random.bytes(8)).toString('hex')}`;
        packet.clean = true;
        delete packet.will;
      }
      done(null, true);
    },
    authenticate(client, _username, _password, done) {
      const connection = connections.get(client);
      const verdict = connection?.verdict;
      if (connection === undefined || verdict?.admitted !== true) {
        const { returnCode = 5 as const, code, reason } = verdict?.admitted === false ? verdict : {};
        counters.add('mqtt.login.refused');
        log.warn({ remote: connection?.remote, code, reason }, 'MQTT log-in refused');
        done(Object.assign(refusal(), { returnCode }), null);
        return;
      }
      const internals = client as unknown as Internals;
      connection.session = new Session({
        id: verdict.sessionId,
        who: verdict.who,
        clean: verdict.clean,
        stream: connection.stream,
        clock,
        counters,
        nextPacketId() {
          const packetId = internals._nextId;
          internals._nextId = packetId >= 65_535 ? 1 : packetId + 1;
          return packetId;
        },
      });
      done(null, true);
    },
    authorizePublish(client, packet, done) {
      const connection = client === null ? undefined : connections.get(client);
      if (connection === undefined || closing) {
        done(refusal());
        return;
      }
      // Taken at once and answered in turn: publishes share a commit, acknowledgements keep their order.
      const taken = takePublish(connection, packet as Parameters<typeof takePublish>[1], inbound);
      const turn = Promise.allSettled([connection.turn, taken]).then(() => taken);
      connection.turn = turn.catch(() => {});
      turn
        .then(
          () => done(null),
          (error: unknown) => done(error instanceof Error ? error : refusal()),
        )
        .catch(lastResort('mqtt.internal', 'a publish', parts));
    },
    authorizeSubscribe(client, subscription, done) {
      const session = connections.get(client)?.session;
      const { topic, qos } = subscription;
      const isFull =
        session !== undefined &&
        !session.filters.has(topic) &&
        session.filters.size >= mqttLimits.subscriptions;
      const isLong = topic.length > mqttLimits.filterLength;
      if (session === undefined || isFull || isLong || !maySubscribe(session.who, topics, topic)) {
        counters.add('mqtt.subscribe.refused');
        log.info({ client: session?.who.client?.name, filter: topic.slice(0, 200) }, 'subscription refused');
        done(null, null);
        return;
      }
      session.filters.set(topic, qos);
      done(null, subscription);
    },
    authorizeForward(client, packet) {
      const session = connections.get(client)?.session;
      return session !== undefined && mayHear(session.who, topics, packet.topic) ? packet : null;
    },
  });

  /** Deliveries that waited for somebody to listen are tried at once. */
  const wakeDeliveries = (session: Session) => {
    for (const address of waiting) {
      if (takes(session, topics, targetOf(address, topics))) {
        waiting.delete(address);
        port.reachable(address as Address);
      }
    }
  };
  library.on('clientReady', client => {
    const connection = connections.get(client);
    const session = connection?.session;
    if (connection === undefined || session === undefined || session.closed) {
      return;
    }
    sessions.add(session);
    counters.add('mqtt.login.accepted');
    const { client: holder } = session.who;
    if (holder !== undefined) {
      const stopWatching = desk.clients.watch(holder, why => {
        log.info({ client: holder.name, why }, 'MQTT connection closed: its token is not good any more');
        session.close();
      });
      connection.stream.once('close', stopWatching);
    }
    if (
      !attempt('start', () => {
        connection.start(session);
        wakeDeliveries(session);
      })
    ) {
      session.close();
    }
  });
  library.on('subscribe', (subscriptions, client) => {
    const connection = connections.get(client);
    const session = connection?.session;
    if (connection === undefined || session === undefined) {
      return;
    }
    const granted = subscriptions.map(entry => entry.topic).filter(topic => session.filters.has(topic));
    attempt('subscribe', () => {
      connection.subscribed(granted);
      wakeDeliveries(session);
    });
  });
  library.on('unsubscribe', (filters, client) => {
    for (const filter of filters) {
      connections.get(client)?.session?.filters.delete(filter);
    }
  });
  library.on('clientError', (_client, error) => {
    counters.add('mqtt.connection.failed');
    log.debug({ error: error.message }, 'MQTT connection ended with an error');
  });
  library.on('connectionError', () => counters.add('mqtt.connection.failed'));
  // The library reports a failed store operation this way; the connection it belongs to has ended already.
  (library as NodeJS.EventEmitter).on('error', error => log.error({ error }, 'MQTT broker failure'));

  let cancelPurge = () => {};
  const purge = () => {
    attempt('purge', () => journal.purge(clock.now()));
    cancelPurge = clock.after(purgeEvery, purge);
  };
  cancelPurge = clock.after(purgeEvery, purge);

  const say = (topic: string, payload: Uint8Array) =>
    new Promise<void>(resolve => {
      const packet = {
        cmd: 'publish',
        topic,
        payload: Buffer.from(payload),
        qos: 1,
        retain: true,
        dup: false,
      } as const;
      library.publish(packet, () => resolve());
    });
  const sayState = (online: boolean) =>
    say(topics.state, jsonPayload({ online, boot: desk.hub.boot, ts: clock.now() }));
  for (const { topic, payload } of journal.retained()) {
    if (topics.parse(topic).kind === 'device') {
      await say(topic, payload);
    }
  }
  const { version, name, lxmf } = desk.hub;
  await say(topics.info, jsonPayload({ version, name, lxmf, limits: mqttLimits }));
  await sayState(true);

  const begin = (stream: Duplex, remote: string, foreign: boolean) => {
    const connection = new Connection(stream, remote, foreign, connectionParts);
    live.add(connection);
    const scanner = new PacketScanner(mqttLimits.packetBytes, (type, packetId) => {
      attempt('settle', () => connection.heard());
      if (type === packetTypes.puback || type === packetTypes.pubcomp) {
        connection.session?.acknowledge(packetId);
      } else if (type === packetTypes.disconnect) {
        connection.goodbye();
      }
    });
    watchReads(stream, chunk => {
      try {
        scanner.feed(chunk);
      } catch (error) {
        counters.add(`mqtt.packet.${isGatewayError(error) ? error.code : 'internal'}`);
        log.warn({ remote, reason: (error as Error).message }, 'MQTT connection closed');
        throw error;
      }
    });
    const client = library.handle(stream);
    connections.set(client, connection);
    stream.once('close', () => {
      live.delete(connection);
      connection.end();
      if (connection.session !== undefined) {
        sessions.delete(connection.session);
      }
    });
  };

  return {
    adopt(stream, remote, foreign) {
      stream.on('error', () => {});
      if (closing || open.size >= mqttLimits.clients) {
        counters.add('mqtt.connection.refused');
        stream.destroy();
        return;
      }
      open.add(stream);
      stream.once('close', () => open.delete(stream));
      peekOpening(stream, clock, opening => {
        if (opening.kind === 'garbage') {
          counters.add('mqtt.connection.garbage');
          stream.destroy();
          return;
        }
        const level = opening.level & 0x7f;
        if (level === 3 || level === 4) {
          begin(stream, remote, foreign);
          return;
        }
        counters.add('mqtt.connection.version');
        log.warn({ remote, version: level }, version5);
        refuse(stream, level === 5 ? refuseVersion5(version5) : refuseVersion);
        clock.after(1000, () => stream.destroy());
      });
    },
    async deliver(delivery, signal) {
      try {
        let told = false;
        const sent = () => {
          if (!told) {
            told = true;
            port.report(delivery.id, { state: 'sent' }).catch(error => {
              log.warn({ code: codeOf(error), error }, 'a delivery could not be marked as sent');
            });
          }
        };
        return await deliverTo(sessions, topics, delivery, sent, signal);
      } catch (error) {
        if (isGatewayError(error, 'bridge/unavailable')) {
          waiting.add(delivery.to);
          // Somebody may have subscribed since the list of listeners was made.
          setImmediate(() => attempt('wake', () => sessions.forEach(wakeDeliveries)));
        }
        throw error;
      }
    },
    async close() {
      closing = true;
      cancelPurge();
      await Promise.race([sayState(false), clock.sleep(1000)]);
      for (const session of sessions) {
        session.close();
      }
      await new Promise<void>(resolve => library.close(() => resolve()));
      // Whoever is not gone by itself is cut off; nobody writes to the journal after this.
      const gone = [...open].map(
        stream => new Promise<void>(resolve => stream.destroy().once('close', resolve)),
      );
      await Promise.race([Promise.all(gone), clock.sleep(1000)]);
    },
  };
}

const refusal = () => new GatewayError('request/unauthenticated', 'refused');

/** The last words on a connection: what it still sends is read and forgotten, so that they arrive. */
function refuse(stream: Duplex, answer: Uint8Array): void {
  stream.resume();
  stream.end(answer);
}
