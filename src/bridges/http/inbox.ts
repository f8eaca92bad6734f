import { z } from 'zod';
import type { Desk, InboxPage } from '../../gateway/desk.ts';
import { klpSchema, klpType } from '../klp.ts';
import { messageSchema } from '../schema.ts';
import type { Sessions } from '../sessions.ts';
import { inboxAnswer, textType } from './plain.ts';
import { cursorOrNone, integerParam, type Route, route } from './route.ts';

/** Longest wait of a long poll, s: below what proxies on the way usually allow. */
const longestWait = 60;

/** The calling client's inbox. */
export function inboxRoutes(desk: Desk, sessions: Sessions): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/inbox',
      summary: 'What came for the calling client; waits for it if asked to',
      tag: 'messages',
      audience: ['messages:read'],
      query: z.strictObject({
        after: cursorOrNone(
          'acknowledges all up to it; without it reading goes on from the last acknowledged',
          'inbox',
        ),
        wait: integerParam(0, longestWait, 'seconds to wait where nothing is there; default 0'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      headers: { Accept: `application/json, ${klpType} (envelopes) or ${textType} (lines for scripts)` },
      live: true,
      timeout: (longestWait + 10) * 1000,
      responses: {
        200: {
          description:
            'what there is, oldest first, maybe nothing; as text a line a message: cursor, id, from, text, with tabs between',
          schema: z.looseObject({
            items: z.array(z.looseObject({ cursor: z.string(), message: messageSchema })),
            cursor: z.string().describe('where to go on; never null'),
          }),
          headers: { 'Kos-Cursor': 'where to go on, for clients that do not read the body' },
          also: {
            [klpType]: z.looseObject({
              items: z.array(z.looseObject({ cursor: z.string(), message: klpSchema })),
              cursor: z.string(),
            }),
            [textType]: null,
          },
        },
      },
      async handle({ client, query, signal, mediaType }) {
        const answer = ({ items, cursor }: InboxPage) => inboxAnswer(mediaType, items, cursor);
        const { after, wait = 0, limit } = query;
        const asked = { ...(after && { after }), ...(limit && { limit }) };
        if (wait === 0) {
          return answer(await desk.inbox.read(client, asked));
        }
        using session = sessions.open(client);
        const ends = AbortSignal.any([signal, session.signal]);
        try {
          return answer(await desk.inbox.read(client, { ...asked, wait: wait * 1000 }, ends));
        } catch (error) {
          if (!signal.aborted) {
            throw error;
          }
          // The gateway stops, or nobody listens any more: nothing came, and nothing is lost by saying so.
          return answer({ items: [], cursor: after || desk.inbox.acknowledged(client) });
        }
      },
    }),
  ];
}
