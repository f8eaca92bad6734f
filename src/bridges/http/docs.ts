import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Route, route } from './route.ts';

/** A page that draws `/openapi.json`; nothing in it comes from anywhere else, so that it works without the internet. */
export function docsRoutes(): Route[] {
  return [
    asset('/docs', 'The API reference as a page', 'docs.html', 'text/html; charset=utf-8'),
    asset('/docs/docs.js', "The page's script", 'docs.js', 'text/javascript; charset=utf-8'),
  ];
}

function asset(path: string, summary: string, file: string, mediaType: string): Route {
  let text: string | undefined;
  return route({
    method: 'GET',
    path,
    summary,
    tag: 'status',
    audience: 'public',
    responses: { 200: { description: 'the file', mediaType: mediaType.split(';', 1)[0] ?? mediaType } },
    handle() {
      text ??= readFileSync(join(import.meta.dirname, file), 'utf8');
      return {
        status: 200,
        headers: {
          'content-type': mediaType,
          'content-security-policy':
            "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        },
        body: text,
      };
    },
  });
}
