import { connect, type Socket } from 'node:net';

/** A raw MQTT 3.1.1 connection: bytes out, whole packets in. */
export interface RawClient extends Disposable {
  readonly socket: Socket;
  /** Ends with the connection. */
  readonly closed: Promise<void>;
  /** The next packet of this type; what comes before it is passed over. Rejects when the connection ends first. */
  next(type: number): Promise<Buffer>;
}

export const type = { connack: 2, publish: 3, puback: 4, pubrec: 5, pubcomp: 7, pingresp: 13 };

export function openRaw(port: number): RawClient {
  const socket = connect(port, '127.0.0.1');
  const packets: Buffer[] = [];
  let wake = () => {};
  let ended = false;
  let buffer = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (let packet = cut(buffer); packet !== undefined; packet = cut(buffer)) {
      buffer = buffer.subarray(packet.length);
      packets.push(packet);
    }
    wake();
  });
  const closed = new Promise<void>(resolve => {
    socket.on('error', () => {});
    socket.on('close', () => {
      ended = true;
      resolve();
      wake();
    });
  });
  return {
    socket,
    closed,
    async next(wanted) {
      for (;;) {
        const packet = packets.shift();
        if (packet === undefined) {
          if (ended) {
            throw new RangeError(`the connection ended before a packet of type ${wanted}`);
          }
          await new Promise<void>(resolve => {
            wake = resolve;
          });
        } else if ((packet[0] ?? 0) >> 4 === wanted) {
          return packet;
        }
      }
    },
    [Symbol.dispose]: () => {
      socket.destroy();
    },
  };
}

function cut(buffer: Buffer): Buffer | undefined {
  let length = 0;
  for (let at = 1; at < buffer.length; at++) {
    const byte = buffer[at] ?? 0;
    length |= (byte & 0x7f) << (7 * (at - 1));
    if (byte < 0x80) {
      return buffer.length > at + length ? buffer.subarray(0, at + 1 + length) : undefined;
    }
  }
  return undefined;
}

const string = (text: string) => {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes]);
};

function frame(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const header = [first];
  let rest = body.length;
  do {
    header.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    rest >>= 7;
  } while (rest > 0);
  return Buffer.concat([Buffer.from(header), body]);
}

/** A CONNECT with user name and password. */
export function rawConnect(options: {
  clientId: string;
  clean: boolean;
  username: string;
  password: string;
  level?: number;
}): Buffer {
  const { clientId, clean, username, password, level = 4 } = options;
  const flags = 0xc0 | (clean ? 2 : 0);
  const properties = level === 5 ? Buffer.from([0]) : Buffer.alloc(0);
  return frame(
    0x10,
    string('MQTT'),
    Buffer.from([level, flags, 0, 60]),
    properties,
    string(clientId),
    string(username),
    string(password),
  );
}

export function rawPublish(options: {
  topic: string;
  payload: string;
  qos: 0 | 1 | 2;
  id: number;
  dup?: boolean;
}): Buffer {
  const { topic, payload, qos, id, dup = false } = options;
  const packetId = qos > 0 ? Buffer.from([id >> 8, id & 0xff]) : Buffer.alloc(0);
  return frame(0x30 | (qos << 1) | (dup ? 8 : 0), string(topic), packetId, Buffer.from(payload));
}

export const rawPubrel = (id: number) => Buffer.from([0x62, 2, id >> 8, id & 0xff]);
export const rawDisconnect = Buffer.from([0xe0, 0]);

export const rawSubscribe = (filter: string, qos: 0 | 1 | 2, id: number) =>
  frame(0x82, Buffer.from([id >> 8, id & 0xff]), string(filter), Buffer.from([qos]));
