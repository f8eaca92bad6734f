import { z } from 'zod';
import { interfaceModes } from '../mesh/reticulum/interface-policy.ts';

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
  remoteManagement: z
    .strictObject({
      allowed: z
        .array(identityHash)
        .max(64)
        .default([])
        .describe('who may ask for status and paths (rnstatus -R, rnpath -R); nobody without any'),
    })
    .prefault({}),
  networkIdentity: z
    .string()
    .min(1)
    .optional()
    .describe('file (64 bytes) with the identity of a group of nodes, made where there is none'),
  discovery: z
    .strictObject({
      listen: z.boolean().default(false).describe('keep what other nodes announce of their interfaces'),
      cost: z.int().min(1).max(32).default(16).describe('bits of work that an announce must show'),
      sources: z.array(identityHash).max(64).default([]).describe('whose announces; everybody’s without any'),
      autoconnect: z
        .strictObject({
          most: z.int().min(0).max(16).default(0).describe('discovered interfaces connected to by itself'),
          unverified: z
            .boolean()
            .default(false)
            .describe('also to nodes whose implementation is not known to work'),
          privateAddresses: z
            .boolean()
            .default(false)
            .describe('also to addresses of private networks, such as 192.168.0.7'),
          mode: z.enum(interfaceModes).default('gateway').describe('mode of those interfaces'),
        })
        .prefault({}),
    })
    .refine(({ listen, autoconnect }) => listen || autoconnect.most === 0, {
      error: 'autoconnect needs listen: true',
      path: ['autoconnect', 'most'],
    })
    .prefault({}),
});

export type MeshConfig = z.infer<typeof meshConfigSchema>;
