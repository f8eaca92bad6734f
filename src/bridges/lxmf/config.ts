import { z } from 'zod';
import { defaultLimits } from '../../gateway/limits.ts';

const notYet = 'not available in this version';
/** An announce must fit one small packet with its ratchet: 285 B of app data, and names are the least of it. */
const longestName = 128;

/** `bridges.lxmf`: how this hub presents itself to LXMF peers. */
export const lxmfConfig = z.strictObject({
  displayName: z
    .string()
    .trim()
    .min(1)
    .refine(name => Buffer.byteLength(name) <= longestName, `at most ${longestName} bytes of UTF-8`)
    .refine(name => !/\p{Cc}/u.test(name), 'no control characters')
    .optional()
    .describe('announced name of the hub; the name of the hub where absent'),
  residents: z
    .int()
    .min(1)
    .max(10_000)
    .default(defaultLimits.residents)
    .describe('rooms, people and apps that may have an address of their own at a time'),
  propagationNode: z
    .literal(false, { error: notYet })
    .default(false)
    .describe('store messages for peers that are away'),
  stampCost: z.null({ error: notYet }).default(null).describe('bits of work asked of senders'),
});

export type LxmfConfig = z.infer<typeof lxmfConfig>;
