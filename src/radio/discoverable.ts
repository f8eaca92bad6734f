import { z } from 'zod';
import { isReachable } from '../mesh/reticulum/reachable-on.ts';

const degrees = (most: number) => z.number().min(-most).max(most).optional();

/** What others may know of an interface. */
const discoverable = {
  name: z.string().min(1).max(64).optional().describe('shown to others; the name of the hub by default'),
  interval: z.int().min(5).max(10_080).default(360).describe('min between two announces'),
  cost: z.int().min(1).max(20).default(16).describe('bits of work in each announce; others ask for 16'),
  latitude: degrees(90),
  longitude: degrees(180),
  height: z.number().min(-4000).max(1_000_000).optional().describe('m'),
  operator: z
    .string()
    .regex(/^[0-9a-f]{32}$/, '32 hex digits')
    .optional()
    .describe('LXMF address of who runs it'),
  sealed: z.boolean().default(false).describe('only for those who have mesh.networkIdentity'),
  publishAccessCode: z.boolean().default(false).describe('tell networkName and passphrase to everybody'),
};

/** `discoverable` of an interface that listens. */
export const discoverableListener = z
  .strictObject({
    ...discoverable,
    reachableOn: z
      .string()
      .max(253)
      .refine(isReachable, 'a host name or an address')
      .describe('host name or address at which others reach it'),
    port: z.int().min(1).max(65_535).optional().describe('TCP port there, where it is another'),
  })
  .optional()
  .describe('announce it, so that others can connect: docs/mesh-management.md');

/** `discoverable` of a radio. */
export const discoverableRadio = z
  .strictObject(discoverable)
  .optional()
  .describe('announce how it is set, so that others can join: docs/mesh-management.md');
