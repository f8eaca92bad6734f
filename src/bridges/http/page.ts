import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Page } from '../../gateway/desk.ts';
import type { Answer } from './route.ts';

/** A page of a list as JSON. */
export function pageSchema(item: z.ZodType) {
  return z.looseObject({
    items: z.array(item),
    cursor: z.string().nullable().describe('give it as after to go on; null at the end'),
  });
}

/** The answer with a page, and a `Link` to the next one where there is one. */
export function pageAnswer<T>(request: FastifyRequest, page: Page<T>, json: (item: T) => unknown): Answer {
  const headers: Record<string, string> = {};
  if (page.cursor !== null) {
    const [path, query] = request.url.split('?', 2);
    const next = new URLSearchParams(query);
    next.set('after', page.cursor);
    headers.link = `<${path}?${next}>; rel="next"`;
  }
  return { status: 200, headers, json: { items: page.items.map(json), cursor: page.cursor } };
}
