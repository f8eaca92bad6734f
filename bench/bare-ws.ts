/** What a fan-out alone costs: `ws` sending one frame to everybody for each POST. Tells its port as one JSON line. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const frame = Buffer.alloc(Number(process.argv[2] ?? 500), 'x');
const server = createServer((request, response) => {
  request.resume().once('end', () => {
    for (const client of sockets.clients) {
      client.send(frame, { binary: false });
    }
    response.writeHead(201, { 'content-type': 'application/json' }).end('{}');
  });
});
const sockets = new WebSocketServer({ server, perMessageDeflate: false });
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`);
});
