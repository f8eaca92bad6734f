import { z } from 'zod';
import { priorities } from './message.ts';
import { patternShape, type RouteRule, rateShape } from './route-rule.ts';
import { readTemplate, templateLimits, templateShape } from './template.ts';

/** Who can be a member of a room. */
export const addressSchema = z
  .string()
  .max(512)
  .regex(
    /^(?:(?:lxmf|webhook):[0-9a-f]{32}|mqtt:\S+|app:[a-z0-9-]{1,32}|matrix:[@!][^\s:]+(?::\S+)?)$/,
    'lxmf:<32 hex digits>, mqtt:<topic>, app:<client name>, matrix:!room:server, matrix:@user:server or webhook:<its id>',
  );

export const roomNameSchema = z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'the name of a room');

/** Who a rule sends to: an address, or a room, whose members each get it. */
const target = z.union([addressSchema, z.string().regex(/^room:[a-z0-9][a-z0-9-]{0,31}$/)], {
  error:
    'lxmf:<32 hex digits>, mqtt:<topic>, app:<client name>, matrix:!room:server, matrix:@user:server, webhook:<its id> or room:<name>',
});

export const ruleIdSchema = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'lower-case letters, digits and hyphens, at most 32');

const typeShape = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/;

const template = (about: string) =>
  z
    .string()
    .min(1)
    .max(templateLimits.source)
    .superRefine((source, context) => {
      const read = readTemplate(source);
      if ('mistake' in read) {
        context.addIssue({ code: 'custom', message: read.mistake });
      }
    })
    // The same for the document; what is wrong is told better by whoever reads it.
    .meta({ description: about, pattern: templateShape.source });

/** The members of a rule, in the configuration and over the API. */
export const ruleShape = {
  id: ruleIdSchema.optional().describe('by which it is changed; made where there is none'),
  enabled: z.boolean().optional().describe('false: it is not used'),
  from: z
    .string()
    .max(512)
    .regex(
      patternShape,
      'an address, with * for one piece of a topic and # at its end for the rest: mqtt:dev/#',
    )
    .describe('whose messages'),
  room: roomNameSchema
    .optional()
    .describe("only what is said in this room; without it in either of the hub's own"),
  type: z
    .string()
    .max(64)
    .regex(
      /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?:\.\*)?$/,
      'dotted lower-case, such as sensor.reading, or with .* at its end for all that begin so',
    )
    .optional()
    .describe('only messages of this type'),
  minPriority: z.enum(priorities).optional().describe('only messages at least as urgent'),
  to: z.array(target).min(1).max(256).describe('who gets them as well; of a room its members'),
  priority: z.enum(priorities).optional().describe('place in the queue'),
  maxRate: z
    .string()
    .regex(rateShape, 'number/time, such as 1/10m or 6/h, the number at most 1000')
    .optional()
    .describe('of each sender to each recipient; what comes faster is not delivered, only counted'),
  template: z
    .strictObject({
      text: template('what they read: words with {text}, {from.name}, {data.values.t|round:1} in them'),
      title: template('a title for it').optional(),
      type: z
        .string()
        .max(64)
        .regex(typeShape, 'dotted lower-case, such as chat.message')
        .optional()
        .describe('the type of what they get'),
      withoutData: z.boolean().optional().describe('true: the machine part stays here, and costs no airtime'),
    })
    .optional()
    .describe('words it anew; apps get the message as it is'),
  order: z.int().min(-1000).max(1000).optional().describe('rules with a smaller one come first; 0 without'),
  stop: z.boolean().optional().describe('true: what it matches, no later rule does'),
};

export const ruleSchema: z.ZodType<RouteRule> = z.strictObject(ruleShape);
