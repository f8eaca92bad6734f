import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openapiDocument } from '../src/bridges/http/openapi.ts';
import type { Route } from '../src/bridges/http/route.ts';
import { type HttpParts, httpRoutes } from '../src/bridges/http/window.ts';
import { interfaceSchema } from '../src/radio/config.ts';

const root = join(import.meta.dirname, '..');

/** Where the document is kept, for readers and for tools that make clients from it. */
export const documentPath = join(root, 'openapi/gateway.json');

/** The page for people, whose list of operations is written by this, too. */
export const pagePath = join(root, 'docs/http.md');

/** The table only describes here: nothing in it is called. */
const routes = () => httpRoutes({ interfaceSchema } as unknown as HttpParts);

/** The document of this source tree. */
export function currentDocument(): string {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  return `${JSON.stringify(openapiDocument(routes(), version), null, 2)}\n`;
}

const marks = [
  '<!-- every operation, written by npm run openapi -->',
  '<!-- end of every operation -->',
] as const;

/** The page with the operations of this source tree; throws where it has no place for them. */
export function currentPage(page: string): string {
  const [before, rest = ''] = page.split(marks[0]);
  const [, after] = rest.split(marks[1]);
  if (before === undefined || after === undefined) {
    throw new TypeError(`docs/http.md has not the two lines ${marks.join(' and ')}`);
  }
  const rows = routes()
    .filter(({ undocumented }) => undocumented !== true)
    .map(
      one => `| \`${one.method} ${one.path}\` | ${one.summary.replaceAll('|', '\\|')} | ${scopesOf(one)} |`,
    );
  const table = ['| operation | | scope |', '|---|---|---|', ...rows].join('\n');
  return `${before}${marks[0]}\n\n${table}\n\n${marks[1]}${after}`;
}

function scopesOf({ audience }: Route): string {
  if (audience === 'public') {
    return 'no token';
  }
  // Each of all scopes: whoever has a good token.
  return audience.includes('admin') && audience.length > 1
    ? 'any'
    : audience.map(scope => `\`${scope}\``).join(' or ');
}

if (import.meta.main) {
  mkdirSync(join(root, 'openapi'), { recursive: true });
  writeFileSync(documentPath, currentDocument());
  writeFileSync(pagePath, currentPage(readFileSync(pagePath, 'utf8')));
  console.log(`wrote ${documentPath} and the operations in ${pagePath}`);
}
