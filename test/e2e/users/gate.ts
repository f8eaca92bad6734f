import { createServer, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import type { Daemon } from '../daemon.ts';
import { names, type User } from './world.ts';

/** What a hub does wrong that forgets to ask who somebody is, or what they may have. */
export interface Leak {
  /** For whom a call is taken, where that is not who makes it. */
  takenFor?(call: { readonly user: User; readonly method: string; readonly path: string }): Name | undefined;
  /** What the answers of a path become before the user has them. */
  readonly answer?: { readonly path: RegExp; change(user: User, text: string): string };
  /** Whose events also come over everybody's socket. */
  readonly overhears?: Name;
}

type Name = User | 'owner';
type Tokens = Readonly<Record<User, string>>;

/** Stands between a real hub and those who call it, and makes a leaking hub of it. */
export interface Gate extends AsyncDisposable {
  leak: Leak;
  /** Gives the hub as it is seen through the gate. */
  before(daemon: Daemon, tokens: Tokens): Promise<Daemon>;
}

export function createGate(): Gate {
  const stack = new AsyncDisposableStack();
  const gate: Gate = { leak: {}, before, [Symbol.asyncDispose]: () => stack.disposeAsync() };

  async function before(daemon: Daemon, tokens: Tokens): Promise<Daemon> {
    const hub = daemon.ready.http;
    const tokenOf = (name: Name) => (name === 'owner' ? daemon.ready.ownerToken : tokens[name]);
    const userOf = ({ authorization }: IncomingHttpHeaders) =>
      names.find(name => authorization === `Bearer ${tokens[name]}`);

    const server = createServer((incoming, outgoing) => {
      const { method = '', url: path = '', headers } = incoming;
      const user = userOf(headers);
      const { leak } = gate;
      const name = user && leak.takenFor?.({ user, method, path });
      const call = request(
        new URL(path, hub),
        {
          method,
          headers: { ...headers, ...(name !== undefined && { authorization: `Bearer ${tokenOf(name)}` }) },
        },
        response => {
          const { answer } = leak;
          if (user === undefined || !answer?.path.test(path) || response.statusCode !== 200) {
            outgoing.writeHead(response.statusCode ?? 502, response.headers);
            response.pipe(outgoing);
            return;
          }
          const chunks: Buffer[] = [];
          response.on('data', chunk => chunks.push(chunk));
          response.on('end', () => {
            const text = answer.change(user, Buffer.concat(chunks).toString());
            const { 'content-length': _length, ...rest } = response.headers;
            outgoing.writeHead(200, rest).end(text);
          });
        },
      );
      call.on('error', () => outgoing.destroy());
      outgoing.on('close', () => call.destroy());
      incoming.pipe(call);
    });
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket, incoming: IncomingMessage) => {
      const { authorization = '' } = incoming.headers;
      const own = join(socket, authorization, () => true);
      if (gate.leak.overhears !== undefined) {
        const other = join(socket, `Bearer ${tokenOf(gate.leak.overhears)}`, frame => frame.op === 'event');
        other.on('open', () => {
          other.send('{"op":"hello"}');
          other.send('{"op":"subscribe","id":"leak","filter":{}}');
        });
      }
      const early: string[] = [];
      own.on('open', () => {
        for (const frame of early.splice(0)) {
          own.send(frame);
        }
      });
      socket.on('message', data => {
        const frame = String(data);
        if (own.readyState === WebSocket.OPEN) {
          own.send(frame);
        } else {
          early.push(frame);
        }
      });
    });
    function join(
      socket: WebSocket,
      authorization: string,
      passes: (frame: { op: string }) => boolean,
    ): WebSocket {
      const up = new WebSocket(`${hub.replace('http', 'ws')}/v1/ws`, { headers: { authorization } });
      up.on('message', data => {
        if (passes(JSON.parse(String(data)))) {
          socket.send(String(data));
        }
      });
      up.on('error', () => {});
      up.on('close', () => socket.terminate());
      socket.on('close', () => up.terminate());
      return up;
    }
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    stack.defer(async () => {
      for (const socket of sockets.clients) {
        socket.terminate();
      }
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    });
    const { port } = server.address() as AddressInfo;
    return { ...daemon, ready: { ...daemon.ready, http: `http://127.0.0.1:${port}` } };
  }
  return gate;
}
