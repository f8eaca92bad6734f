import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asyncapi } from '../src/start/asyncapi.ts';

const root = join(import.meta.dirname, '..');

/** Where the document is kept, for readers and for tools that make clients from it. */
export const asyncapiPath = join(root, 'openapi/asyncapi.json');

/** The document of this source tree. */
export function currentAsyncapi(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return `${JSON.stringify(asyncapi(version), null, 2)}\n`;
}

if (import.meta.main) {
  writeFileSync(asyncapiPath, currentAsyncapi());
  console.log(`wrote ${asyncapiPath}`);
}
