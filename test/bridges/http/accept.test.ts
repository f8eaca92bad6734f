import assert from 'node:assert/strict';
import { test } from 'node:test';
import { currentDocument } from '../../../tools/openapi.ts';
import { openGateway } from '../gateway.ts';

interface Operation {
  readonly operationId: string;
  readonly responses: Record<string, { content?: Record<string, unknown>; $ref?: string }>;
}
const { paths } = JSON.parse(currentDocument()) as { paths: Record<string, Record<string, Operation>> };
const operations = Object.entries(paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, { responses }]) => ({
    name: `${method.toUpperCase()} ${path}`,
    method: method.toUpperCase(),
    path: path.replaceAll(/\{\w+\}/g, 'x'),
    types: Object.entries(responses)
      .filter(([status]) => Number(status) < 300)
      .flatMap(([, { content = {} }]) => Object.keys(content)),
    declared: responses[406]?.$ref === '#/components/responses/NotAcceptable',
  })),
);

test('every operation that answers JSON says 406 where its client does not take it, before anything is done', async () => {
  await using gateway = await openGateway();
  const answering = operations.filter(({ types }) => types.includes('application/json'));
  assert.ok(answering.length > 60);
  for (const { name, method, path, declared } of answering) {
    assert.ok(declared, `${name}: in the document`);
    for (const accept of ['image/png', 'application/json;q=0, */*;q=0.0', 'text/*;q=0, application/xml']) {
      const answer = await gateway.call(gateway.hub.ownerToken, method, path, undefined, {
        headers: { accept },
      });
      assert.equal(answer.status, 406, `${name} for ${accept}`);
      assert.equal(answer.body.code, 'request/unsupported', name);
      assert.match(answer.body.detail, /application\/json/, name);
    }
  }
  const { items } = (await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/tokens')).body;
  assert.equal(items.length, 1, 'nothing was made or revoked');
});

test('wildcards, parameters, preferences and nonsense are taken as RFC 9110 has them', async () => {
  await using gateway = await openGateway();
  for (const accept of [
    '*/*',
    'application/*',
    'application/json;charset=utf-8',
    'Application/JSON',
    'text/html, application/xhtml+xml, */*;q=0.8',
    'image/png;q=1, application/json;q=0.001',
    'application/*;q=0, application/json',
    'nonsense',
    '',
  ]) {
    const answer = await gateway.call(gateway.hub.ownerToken, 'GET', '/v1/rooms', undefined, {
      headers: { accept },
    });
    assert.equal(answer.status, 200, accept);
    assert.match(answer.headers.get('content-type') ?? '', /^application\/json/, accept);
  }
});

test('what is not JSON keeps its own type, and bytes are given whatever is asked', async () => {
  await using gateway = await openGateway();
  const { ownerToken: token } = gateway.hub;
  const ask = async (path: string, accept: string, method = 'GET') => {
    const stop = new AbortController();
    const { status, headers } = await fetch(`${gateway.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, accept },
      signal: stop.signal,
    });
    stop.abort();
    return [status, headers.get('content-type')?.split(';', 1)[0]];
  };
  assert.deepEqual(await ask('/metrics', 'text/plain;version=0.0.4'), [200, 'text/plain']);
  assert.deepEqual(await ask('/metrics', 'application/json'), [406, 'application/problem+json']);
  assert.deepEqual(await ask('/v1/events', 'text/event-stream'), [200, 'text/event-stream']);
  assert.deepEqual(await ask('/v1/events', 'application/json'), [406, 'application/problem+json']);
  assert.deepEqual(await ask('/openapi.json', 'application/json'), [200, 'application/json']);
  assert.deepEqual(await ask('/docs', 'text/html'), [200, 'text/html']);
  assert.deepEqual(await ask('/', 'text/html'), [200, 'text/html']);
  assert.deepEqual(await ask('/page/app.js', 'image/png'), [200, 'text/javascript'], 'a file of the page');
  const { body } = await gateway.call(token, 'POST', '/v1/blobs', new Uint8Array([1, 2, 3]));
  assert.deepEqual(await ask(`/v1/blobs/${body.sha256}`, 'image/png'), [200, 'application/octet-stream']);
  assert.deepEqual(await ask('/v1/inbox', 'text/plain', 'HEAD'), [200, 'text/plain']);
});

test('whoever has no good token is told that first, and a refusal comes as a line of text to who takes text', async () => {
  await using gateway = await openGateway();
  const stranger = await gateway.call('kos_wrong', 'GET', '/v1/tokens', undefined, {
    headers: { accept: 'image/png' },
  });
  assert.equal(stranger.status, 401);
  const answer = await fetch(`${gateway.url}/v1/rooms`, {
    headers: { authorization: `Bearer ${gateway.hub.ownerToken}`, accept: 'text/plain' },
  });
  assert.equal(answer.status, 406);
  assert.match(await answer.text(), /^request\/unsupported: there is application\/json\n$/);
});
