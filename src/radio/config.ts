import { z } from 'zod';

const port = z.int().min(1).max(65_535).describe('TCP port');
const name = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,31}$/i, 'a name of letters, digits and hyphens, at most 32')
  .describe('unique and stable: paths are remembered under it');

/** What may stand on any interface. Only the default of each is built so far. */
const common = {
  name,
  mode: z
    .literal('full', { error: 'not available in this version: only "full" is' })
    .default('full')
    .describe('interface mode'),
};

const tcpClient = z
  .strictObject({
    ...common,
    kind: z.literal('tcp-client'),
    host: z.string().min(1).describe('host name or address of a TCP interface of another node'),
    port,
  })
  .describe('connects to a TCP server interface of another node, and again when it is lost');

const tcpServer = z
  .strictObject({
    ...common,
    kind: z.literal('tcp-server'),
    host: z.string().min(1).default('127.0.0.1').describe('address to listen on'),
    port: z.int().min(0).max(65_535).describe('TCP port; 0 picks a free one'),
    maxClients: z.int().min(1).max(10_000).default(500).describe('connections at once'),
  })
  .describe('lets other nodes connect');

const kinds = ['lan', 'udp', 'rnode', 'kiss', 'serial', 'pipe'] as const;

/** A kind that is named in the documentation but not built yet says so instead of being ignored. */
const unavailable = kinds.map(kind =>
  z.looseObject({
    kind: z.literal(kind).refine(() => false, { error: `${kind}: not available in this version` }),
  }),
);

/** One entry of `interfaces:`. */
export const interfaceSchema = z.discriminatedUnion('kind', [tcpClient, tcpServer, ...unavailable]);

export type InterfaceConfig = z.infer<typeof tcpClient> | z.infer<typeof tcpServer>;
