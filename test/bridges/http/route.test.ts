import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { addRoutes, type Route, type RouteParts, route } from '../../../src/bridges/http/route.ts';
import { createListener } from '../../../src/bridges/listener.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Counters } from '../../../src/lib/counters.ts';
import { silentLog } from '../../../src/lib/log.ts';

/** A listener with public routes of the test's own. */
async function serve(routes: readonly Route[]) {
  const listener = await createListener({
    host: '127.0.0.1',
    port: 0,
    clock: systemClock,
    log: silentLog,
    counters: new Counters(),
  });
  const desk = {} as RouteParts['desk'];
  const parts = { listener, clock: systemClock, log: silentLog, desk } as Partial<RouteParts> as RouteParts;
  addRoutes(parts, routes);
  await listener.listen();
  return listener;
}

const common = {
  method: 'GET',
  summary: 'of this test',
  tag: 'test',
  audience: 'public',
  responses: { 200: { description: 'an answer' } },
} as const;

test('a handler that takes too long is answered for, and what it gives later is not sent', async () => {
  const late = Promise.withResolvers<void>();
  await using listener = await serve([
    route({
      ...common,
      path: '/slow',
      timeout: 30,
      handle: async () => {
        await late.promise;
        return { status: 200, json: 'too late' };
      },
    }),
    route({
      ...common,
      path: '/failing',
      timeout: 30,
      handle: async () => {
        await late.promise;
        throw new TypeError('nobody hears of it');
      },
    }),
    route({ ...common, path: '/quick', timeout: 30_000, handle: () => ({ status: 200, json: 'in time' }) }),
  ]);
  const { url } = listener.address();
  for (const path of ['/slow', '/failing']) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 503);
    const problem = (await answer.json()) as { code: string; detail: string };
    assert.equal(problem.code, 'bridge/unavailable');
    assert.equal(problem.detail, 'this took too long');
  }
  late.resolve();
  assert.equal(await (await fetch(`${url}/quick`)).json(), 'in time');
});

test('a handler that asks for its signal is told when the client has gone', async () => {
  const gone = Promise.withResolvers<string>();
  const begun = Promise.withResolvers<void>();
  await using listener = await serve([
    route({
      ...common,
      path: '/wait',
      handle: async ({ signal }) => {
        begun.resolve();
        await once(signal, 'abort');
        gone.resolve((signal.reason as Error).name);
        return { status: 200, json: 'nobody is there' };
      },
    }),
  ]);
  const socket = connect(listener.address().port, '127.0.0.1');
  socket.write('GET /wait HTTP/1.1\r\nhost: localhost\r\n\r\n');
  await begun.promise;
  socket.destroy();
  assert.equal(await gone.promise, 'AbortError');
});
