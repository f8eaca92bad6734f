import type { FastifyInstance } from 'fastify';

/** What a page of another site may read of an answer, beside what every page may. */
const exposed = [
  ...['Allow', 'ETag', 'Last-Modified', 'Link', 'Location', 'Retry-After', 'RateLimit', 'RateLimit-Policy'],
  ...['Accept-Ranges', 'Content-Disposition', 'Content-Range', 'WWW-Authenticate', 'X-Request-Id'],
  ...['Idempotency-Replayed', 'Kos-Cursor', 'Kos-Blob'],
  ...['Tus-Resumable', 'Tus-Version', 'Tus-Extension', 'Tus-Max-Size', 'Tus-Checksum-Algorithm'],
  ...['Upload-Offset', 'Upload-Length', 'Upload-Expires', 'Upload-Metadata', 'Upload-Concat'],
].join(', ');

/** What such a page may say, beside what every page may. The star is for ntfy, which takes any header; it does not stand for the first. */
const allowed = [
  '*',
  ...['Authorization', 'Content-Type', 'Idempotency-Key', 'Last-Event-ID', 'X-Request-Id'],
  ...['If-Match', 'If-None-Match', 'If-Modified-Since', 'If-Range', 'Range'],
  ...['Tus-Resumable', 'Upload-Offset', 'Upload-Length', 'Upload-Metadata', 'Upload-Checksum'],
  ...['Upload-Concat', 'Upload-Defer-Length', 'X-HTTP-Method-Override'],
].join(', ');

/** s a browser remembers the answer to its question. */
const remembered = 600;

/**
 * Lets pages of these origins call the API with a token of their own. Never with credentials of the browser: a log-in on
 * the hub's page belongs to that page. Source: the Fetch standard, "HTTP extensions"; RFC 9110 §12.5.5.
 */
export function allowOrigins(
  app: FastifyInstance,
  origins: readonly string[],
  isOpen: (path: string) => boolean = isApi,
): void {
  if (origins.length === 0) {
    return;
  }
  app.addHook('onRequest', async (request, reply) => {
    const { origin } = request.headers;
    const path = request.url.split('?', 1)[0] ?? '';
    if (!isOpen(path)) {
      return;
    }
    reply.raw.appendHeader('vary', 'Origin');
    if (origin === undefined || !origins.includes(origin)) {
      return;
    }
    reply.raw.setHeader('access-control-allow-origin', origin);
    reply.raw.setHeader('access-control-expose-headers', exposed);
    const asked = request.headers['access-control-request-method'];
    if (request.method === 'OPTIONS' && asked !== undefined) {
      return reply
        .code(204)
        .headers({
          'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
          'access-control-allow-headers': allowed,
          'access-control-max-age': String(remembered),
        })
        .send();
    }
  });
}

/** What pages of other sites may see at all; ntfy is there where it is turned on. */
function isApi(path: string): boolean {
  return path.startsWith('/v1/') || path === '/openapi.json' || /^\/ntfy(?:\/|$)/.test(path);
}
