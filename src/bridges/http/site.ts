import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Clock } from '../../lib/clock.ts';
import { type Route, route } from './route.ts';
import { isKnown, lastModified } from './validator.ts';

/** The files of the page: what is not named here is not served. */
const files = {
  'index.html': 'text/html; charset=utf-8',
  'page.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
  'app.js': 'text/javascript; charset=utf-8',
  'api.js': 'text/javascript; charset=utf-8',
  'dom.js': 'text/javascript; charset=utf-8',
  'words.js': 'text/javascript; charset=utf-8',
  'home.js': 'text/javascript; charset=utf-8',
  'talk.js': 'text/javascript; charset=utf-8',
  'thread.js': 'text/javascript; charset=utf-8',
  'bubble.js': 'text/javascript; charset=utf-8',
  'composer.js': 'text/javascript; charset=utf-8',
  'unsent.js': 'text/javascript; charset=utf-8',
  'peers.js': 'text/javascript; charset=utf-8',
  'queue.js': 'text/javascript; charset=utf-8',
  'me.js': 'text/javascript; charset=utf-8',
  'network.js': 'text/javascript; charset=utf-8',
  'replicas.js': 'text/javascript; charset=utf-8',
  'access.js': 'text/javascript; charset=utf-8',
} as const;

type FileName = keyof typeof files;

interface Asset {
  readonly text: string;
  readonly packed: Buffer;
  readonly tag: string;
  /** When it was read, ms epoch: what a package says of the times of its files is no time of change. */
  readonly changed: number;
}

/**
 * Nothing from elsewhere, nothing inline, and no text that becomes markup: what comes from the air can do no more
 * than be read. Images are shown from memory, after they were asked for with the log-in.
 */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** The page at `/`: plain files, read once, served as they are. */
export function siteRoutes(clock: Clock): Route[] {
  const names = Object.keys(files) as FileName[];
  return names.map(name => {
    let asset: Asset | undefined;
    return route({
      method: 'GET',
      path: name === 'index.html' ? '/' : `/page/${name}`,
      summary: `The page's ${name}`,
      tag: 'page',
      audience: 'public',
      undocumented: true,
      responses: { 200: { description: 'the file' } },
      handle({ header, request }) {
        asset ??= load(name, clock);
        const { text, packed, tag, changed } = asset;
        const modified = lastModified(changed, clock.now());
        const headers = {
          etag: tag,
          ...(modified !== undefined && { 'last-modified': modified }),
          // Asked for each time, so that a new version is there at once; mostly answered in one packet.
          'cache-control': 'no-cache',
          vary: 'accept-encoding',
          'content-security-policy': policy,
          'cross-origin-opener-policy': 'same-origin',
          'cross-origin-resource-policy': 'same-origin',
          'permissions-policy': 'camera=(), geolocation=(), microphone=()',
        };
        if (isKnown(request.headers, tag, modified)) {
          return { status: 304, headers };
        }
        const isPacked = /\bgzip\b/.test(header('accept-encoding') ?? '');
        const body = isPacked ? packed : Buffer.from(text);
        return {
          status: 200,
          headers: {
            ...headers,
            'content-type': files[name],
            'content-length': String(body.length),
            ...(isPacked && { 'content-encoding': 'gzip' }),
          },
          ...(request.method === 'GET' && { body }),
        };
      },
    });
  });
}

function load(name: FileName, clock: Clock): Asset {
  const text = readFileSync(join(import.meta.dirname, 'page', name), 'utf8');
  const hash = createHash('sha256').update(text).digest('base64url').slice(0, 27);
  // Weak: the packed form has the same meaning and other bytes.
  return { text, packed: gzipSync(text), tag: `W/"${hash}"`, changed: clock.now() };
}
