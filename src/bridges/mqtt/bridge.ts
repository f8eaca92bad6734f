import type { IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { createWebSocketStream, WebSocketServer } from 'ws';
import type { Bridge } from '../../gateway/bridge.ts';
import type { Desk } from '../../gateway/desk.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Counters } from '../../lib/counters.ts';
import { GatewayError, isGatewayError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Random } from '../../lib/random.ts';
import type { Access } from '../access.ts';
import { refuse } from '../listener.ts';
import { type Broker, openBroker } from './broker.ts';
import { type MqttConfig, mqttLimits } from './config.ts';
import { targetOf } from './delivery.ts';
import { openJournal } from './journal.ts';
import { topicsOf } from './topics.ts';

export interface MqttParts {
  /** First looked at when the bridge runs: the switch that has the desk is made with its bridges. */
  readonly desk: Desk;
  /** Shared with the other windows, so that wrong tokens count together; first looked at when the bridge runs. */
  readonly access: Access;
  readonly config: MqttConfig;
  /** Where the TCP side listens; port 0 picks a free one. */
  readonly host: string;
  readonly port: number;
  /** The journal's file, or `:memory:`. */
  readonly file: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
}

/** The MQTT broker: a bridge to the devices and topics behind it, and a window on the desk for MQTT clients. */
export interface MqttBridge extends Bridge {
  /**
   * Opens the TCP port; `run` does it where nobody did before. `bridge/unavailable` with `detail.errno`
   * (`EADDRINUSE`) if that fails; may be tried again with another port.
   */
  listen(port?: number): Promise<void>;
  /** Closes a port that was opened and that no `run` came to serve. */
  close(): void;
  /** Where it listens, once it does. */
  address(): AddressInfo | undefined;
  /** Takes over an HTTP upgrade of `/mqtt`. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** Subprotocols a client may ask for: today's name, and the one of MQTT 3.1. */
const subprotocols = ['mqtt', 'mqttv3.1'];

export function createMqttBridge(parts: MqttParts): MqttBridge {
  const { log, clock } = parts;
  let broker: Broker | undefined;
  let server: Server | undefined;
  const sockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: 2 * mqttLimits.packetBytes,
    handleProtocols: offered => subprotocols.find(name => offered.has(name)) ?? false,
  });

  let port = parts.port;
  const listen = async (wanted = port): Promise<void> => {
    const opening = createServer(socket => {
      socket.setNoDelay(true);
      // A client with keep alive 0 may be gone without a word.
      socket.setKeepAlive(true, 60_000);
      admit(socket, socket.remoteAddress, false);
    });
    await new Promise<void>((resolve, reject) => {
      opening.once('error', (cause: NodeJS.ErrnoException) => {
        reject(
          new GatewayError('bridge/unavailable', `cannot listen on ${parts.host}:${wanted}: ${cause.code}`, {
            retryable: true,
            detail: { errno: cause.code },
            cause,
          }),
        );
      });
      opening.listen({ host: parts.host, port: wanted }, resolve);
    });
    opening.on('error', error => log.warn({ error }, 'MQTT listener'));
    server = opening;
    // A broker that is started again comes back where clients know it to be.
    port = (opening.address() as AddressInfo).port;
  };

  const admit = (stream: Duplex, remote: string | undefined, foreign: boolean) => {
    if (broker === undefined || remote === undefined) {
      stream.on('error', () => {});
      stream.destroy();
      return;
    }
    broker.adopt(stream, remote, foreign);
  };

  return {
    name: 'mqtt',
    carries: {
      textBytes: 1_000_000,
      // Attachments are named in the message; their bytes are fetched from the blob store.
      attachmentBytes: Number.MAX_SAFE_INTEGER,
      replies: true,
      receipts: true,
      // QoS 1 is "at least once" by contract, and the message's id tells a repeat.
      deduplicates: true,
      tellsWhenSent: true,
      concurrency: 16,
    },
    reaches(address) {
      try {
        targetOf(address, topicsOf(parts.desk.hub.id));
        return true;
      } catch (error) {
        if (isGatewayError(error, 'bridge/rejected')) {
          return false;
        }
        throw error;
      }
    },
    listen,
    close() {
      server?.close();
      server = undefined;
    },
    address: () => (server?.address() as AddressInfo | null | undefined) ?? undefined,
    handleUpgrade(request, socket, head) {
      const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map(name => name.trim());
      if (!subprotocols.some(name => offered.includes(name))) {
        refuse(socket, new GatewayError('request/invalid', 'offer the WebSocket subprotocol mqtt'));
        return;
      }
      sockets.handleUpgrade(request, socket, head, socketOpened => {
        socketOpened.on('error', () => {});
        admit(createWebSocketStream(socketOpened), request.socket.remoteAddress, isForeign(request));
      });
    },
    async run(bridgePort, signal) {
      using journal = openJournal(parts.file, clock.now());
      const opened = await openBroker(parts, bridgePort, journal);
      broker = opened;
      try {
        if (server === undefined) {
          await listen();
        }
        bridgePort.ready();
        await aborted(signal);
      } finally {
        const closing = server;
        server = undefined;
        closing?.close();
        await opened.close();
        broker = undefined;
      }
    },
    async deliver(delivery, signal) {
      if (broker === undefined) {
        throw new GatewayError('bridge/unavailable', 'the MQTT broker is not running', { retryable: true });
      }
      return broker.deliver(delivery, signal);
    },
  };
}

/** Whether a browser's page from another origin opened it. */
function isForeign(request: IncomingMessage): boolean {
  const { origin, host } = request.headers;
  return origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal.aborted) {
      resolve();
    } else {
      signal.addEventListener('abort', () => resolve(), { once: true });
    }
  });
}
