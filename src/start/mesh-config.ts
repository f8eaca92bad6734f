import { z } from 'zod';

const identityHash = z
  .string()
  .regex(/^[0-9a-f]{32}$/, 'an identity hash: 32 hex digits')
  .describe('identity hash');

/** How this node shows itself to other nodes, and whom it believes: `mesh` of kos.yaml. */
export const meshConfigSchema = z.strictObject({
  probes: z.boolean().default(true).describe('answer probes of other nodes (rnprobe) on rnstransport.probe'),
  blackhole: z
    .strictObject({
      identities: z
        .array(identityHash)
        .max(1000)
        .default([])
        .describe(
          'whose announces are neither learnt nor passed on; more at run time by kosctl blackhole add',
        ),
      publish: z.boolean().default(false).describe('give the list to every node that asks for it'),
      sources: z
        .array(identityHash)
        .max(16)
        .default([])
        .describe('nodes whose lists are used as well, asked for every hour'),
    })
    .prefault({}),
});

export type MeshConfig = z.infer<typeof meshConfigSchema>;
