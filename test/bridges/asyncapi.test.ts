import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { asyncapiPath, currentAsyncapi } from '../../tools/asyncapi.ts';

const document = JSON.parse(currentAsyncapi());

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

test('every schema of the AsyncAPI document is one', () => {
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  ajv.addSchema(document, 'asyncapi');
  for (const name of Object.keys(document.components.messages)) {
    ajv.compile({ $ref: `asyncapi#/components/messages/${name}/payload` });
  }
});
