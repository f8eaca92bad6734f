import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { currentDocument, currentPage, documentPath, pagePath } from '../../../tools/openapi.ts';
import { openGateway } from '../gateway.ts';

const document = JSON.parse(currentDocument());

test('the committed document is the one of this source: npm run openapi writes it', () => {
  assert.equal(readFileSync(documentPath, 'utf8'), currentDocument());
});

test('every operation is named in docs/http.md as it is now: npm run openapi writes it', () => {
  const page = readFileSync(pagePath, 'utf8');
  for (const [path, methods] of Object.entries<object>(document.paths)) {
    for (const method of Object.keys(methods)) {
      assert.ok(page.includes(`\`${method.toUpperCase()} ${path}\``), `${method} ${path}`);
    }
  }
  assert.equal(page, currentPage(page));
});

test('every reference in the document leads somewhere', () => {
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (key === '$ref') {
        const [, , kind, name] = String(member).split('/');
        assert.ok(document.components[kind ?? '']?.[name ?? ''], String(member));
      }
      look(member);
    }
  };
  look(document);
});

test('every operation has a name of its own and says that it may answer with a problem', () => {
  const operations = Object.values<Record<string, { operationId: string; responses: object }>>(
    document.paths,
  ).flatMap(methods => Object.values(methods));
  assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  for (const { responses } of operations) {
    assert.deepEqual((responses as { default?: unknown }).default, {
      $ref: '#/components/responses/Problem',
    });
  }
});

test('what needs no token is a short list', () => {
  const open = Object.entries<Record<string, { security: unknown[] }>>(document.paths)
    .filter(([, methods]) => Object.values(methods).some(({ security }) => security.length === 0))
    .map(([path]) => path);
  assert.deepEqual(open, [
    '/v1/uploads',
    '/v1/session',
    '/healthz',
    '/readyz',
    '/openapi.json',
    '/asyncapi.json',
    '/docs',
    '/docs/docs.js',
  ]);
});

test('every link leads to an operation that has the parameters it gives', () => {
  type Operation = {
    operationId: string;
    parameters: { name: string }[];
    responses: Record<string, { links?: Record<string, { operationId: string; parameters: object }> }>;
  };
  const operations = Object.values<Record<string, Operation>>(document.paths).flatMap(
    Object.values<Operation>,
  );
  const links = operations.flatMap(({ responses }) =>
    Object.values(responses).flatMap(({ links = {} }) => Object.values(links)),
  );
  assert.ok(links.length > 10);
  for (const { operationId, parameters } of links) {
    const names = operations.find(one => one.operationId === operationId)?.parameters.map(({ name }) => name);
    for (const name of Object.keys(parameters)) {
      assert.ok(names?.includes(name), `${operationId} has no ${name}`);
    }
  }
});

test('Allow names the methods of a path that the document has, and nothing beside them', async () => {
  await using gateway = await openGateway();
  for (const [path, methods] of Object.entries<object>(document.paths)) {
    const known = Object.keys(methods).map(method => method.toUpperCase());
    // It answers OPTIONS itself.
    if (known.includes('OPTIONS')) {
      continue;
    }
    const answer = await fetch(gateway.url + path.replaceAll(/\{\w+\}/g, 'x'), { method: 'OPTIONS' });
    const more = ['OPTIONS', ...(known.includes('GET') ? ['HEAD'] : [])];
    assert.equal(answer.headers.get('allow'), [...known, ...more].sort().join(', '), path);
  }
});
