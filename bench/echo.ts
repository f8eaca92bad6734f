/** What HTTP and JSON alone cost: fastify as it comes, answering with the body it was sent. Tells its port as one JSON line. */
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';

const app = fastify();
app.post('/echo', (request, reply) => {
  reply.code(201);
  return reply.send(request.body);
});
await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`${JSON.stringify({ port: (app.server.address() as AddressInfo).port })}\n`);
