import { z } from 'zod';
import { doors } from '../../gateway/audit-entry.ts';
import type { Desk } from '../../gateway/desk.ts';
import { pageAnswer, pageSchema } from './page.ts';
import { cursorOf, integerParam, type Route, route } from './route.ts';

const lineSchema = z
  .looseObject({
    id: z.string().describe('its cursor'),
    at: z.int().describe('ms since 1970'),
    actor: z.string().describe('app:<name>, hub, or empty where nobody knows who it was'),
    door: z.enum(doors).describe('how they came: page is a browser that is logged in'),
    from: z.string().describe('the address they came from; empty over the control socket'),
    action: z.string().describe('dotted, such as tokens.create, or the id of the operation'),
    target: z.string().exactOptional(),
    keys: z.array(z.string()).exactOptional().describe('the members that were changed'),
    status: z.int().describe('as HTTP has it'),
    code: z.string().exactOptional().describe('why it was refused or failed'),
    count: z.int().describe('refusals of one kind within a minute are one line'),
  })
  .meta({ id: 'AuditLine' });

/** What was done to the hub, by whom; for the owner. */
export function auditRoutes(desk: Desk): Route[] {
  return [
    route({
      method: 'GET',
      path: '/v1/audit',
      summary: 'Who did what to the hub itself, and who was refused; the newest first',
      tag: 'admin',
      audience: ['admin'],
      query: z.strictObject({
        actor: z.string().min(1).max(64).exactOptional().describe('app:<name>, or hub'),
        action: z
          .string()
          .min(1)
          .max(64)
          .exactOptional()
          .describe('an action, or the first parts of its name'),
        after: cursorOf('a cursor from an earlier answer', 'audit'),
        limit: integerParam(1, 200, 'default 50'),
      }),
      responses: { 200: { description: 'a page', schema: pageSchema(lineSchema) } },
      handle: ({ query, request }) => pageAnswer(request, desk.audit.list(query), line => line),
    }),
  ];
}
