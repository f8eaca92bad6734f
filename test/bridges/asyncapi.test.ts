import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import specs from '@asyncapi/specs';
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { hubFrames } from '../../src/bridges/ws/channel.ts';
import { clientFrames, decodeFrame } from '../../src/bridges/ws/frames.ts';
import { asyncapiPath, currentAsyncapi } from '../../tools/asyncapi.ts';

// biome-ignore lint/suspicious/noExplicitAny: a document is looked at, not used.
const document: any = JSON.parse(currentAsyncapi());

test('the committed AsyncAPI document is the one of this source: npm run openapi writes it', () => {
  assert.equal(readFileSync(asyncapiPath, 'utf8'), currentAsyncapi());
});

test('every reference in the AsyncAPI document leads somewhere, and every operation to messages of its channel', () => {
  const at = (pointer: string) =>
    pointer
      .slice(2)
      .split('/')
      .reduce<unknown>((node, step) => (node as Record<string, unknown> | undefined)?.[step], document);
  const look = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      return;
    }
    for (const [key, member] of Object.entries(value)) {
      if (key === '$ref') {
        assert.ok(at(String(member)), String(member));
      }
      look(member);
    }
  };
  look(document);
  for (const { action, channel, messages } of Object.values<{
    action: string;
    channel: { $ref: string };
    messages: { $ref: string }[];
  }>(document.operations)) {
    assert.ok(['send', 'receive'].includes(action));
    assert.ok(messages.every(({ $ref }) => $ref.startsWith(`${channel.$ref}/messages/`)));
  }
  const named = Object.values<{ address: string | null; parameters?: object }>(document.channels);
  for (const { address, parameters = {} } of named) {
    const wanted = [...(address ?? '').matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    assert.deepEqual(Object.keys(parameters).sort(), wanted.sort());
  }
});

test('the document is AsyncAPI 3.0, as the project that makes it says in a schema', () => {
  // The schema holds the dialect it is written in as well, which the validator has already.
  const ajv = new Ajv({
    strict: false,
    validateFormats: false,
    allErrors: true,
    meta: false,
    validateSchema: false,
  });
  const check: ValidateFunction = ajv.compile(specs.schemas['3.0.0'] as object);
  assert.equal(document.asyncapi, '3.0.0');
  assert.equal(check(document), true, ajv.errorsText(check.errors));
  const broken = {
    ...document,
    channels: { ...document.channels, ws: { ...document.channels.ws, addres: 1 } },
  };
  assert.equal(check(broken), false, 'and the schema finds what is wrong');
});

// The dialect of AsyncAPI is that of draft 7; what takes the schemas out of the document often reads a later one.
for (const [dialect, ajv] of [
  ['draft 7', new Ajv({ strict: false, validateFormats: false })],
  ['2020-12', new Ajv2020({ strict: false, validateFormats: false })],
] as const) {
  test(`every message has a schema and examples of it, read as JSON Schema ${dialect}`, () => {
    ajv.addSchema(document, 'asyncapi');
    for (const [name, { examples }] of Object.entries<{ examples: { payload: unknown }[] }>(
      document.components.messages,
    )) {
      const check = ajv.compile({ $ref: `asyncapi#/components/messages/${name}/payload` });
      assert.ok(examples.length > 0, name);
      for (const { payload } of examples) {
        assert.ok(check(payload), `${name} ${JSON.stringify(payload)}: ${ajv.errorsText(check.errors)}`);
      }
    }
  });
}

test('the document speaks of every frame of a socket', () => {
  assert.deepEqual(
    Object.keys(document.channels.ws.messages).sort(),
    [
      ...Object.keys(clientFrames).map(op => `ws.client.${op}`),
      ...Object.keys(hubFrames).map(op => `ws.hub.${op}`),
    ].sort(),
  );
});

test('examples of what clients send are what the hub takes', () => {
  for (const [name, { examples }] of Object.entries<{ examples: { payload: unknown }[] }>(
    document.components.messages,
  )) {
    for (const { payload } of name.startsWith('ws.client.') ? examples : []) {
      decodeFrame(JSON.stringify(payload));
    }
  }
});
