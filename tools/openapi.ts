import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openapiDocument } from '../src/bridges/http/openapi.ts';
import { type HttpParts, httpRoutes } from '../src/bridges/http/window.ts';
import { interfaceSchema } from '../src/radio/config.ts';

const root = join(import.meta.dirname, '..');

/** Where the document is kept, for readers and for tools that make clients from it. */
export const documentPath = join(root, 'openapi/gateway.json');

/** The document of this source tree. The table only describes here: nothing in it is called. */
export function currentDocument(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return `${JSON.stringify(openapiDocument(httpRoutes({ interfaceSchema } as unknown as HttpParts), version), null, 2)}\n`;
}

if (import.meta.main) {
  mkdirSync(join(root, 'openapi'), { recursive: true });
  writeFileSync(documentPath, currentDocument());
  console.log(`wrote ${documentPath}`);
}
