import { z } from 'zod';

const unavailable = 'not available in this version';

/** `bridges.http` of the configuration. */
export const httpConfigSchema = z.strictObject({
  cors: z
    .array(z.never({ error: unavailable }))
    .default([])
    .describe('origins of other sites whose pages may call the API; none yet'),
  legacySend: z
    .literal(false, { error: `true: ${unavailable}` })
    .default(false)
    .describe('the one-line sending form of older gateways; not yet'),
});

export type HttpConfig = z.output<typeof httpConfigSchema>;
