import { z } from 'zod';

const serialLine = {
  port: z.string().min(1).max(1024).describe('serial device, best by its name in /dev/serial/by-id'),
  speed: z.int().min(300).max(4_000_000).default(9600).describe('bit/s of the line'),
  dataBits: z.union([z.literal(7), z.literal(8)], { error: '7 or 8' }).default(8),
  parity: z.enum(['none', 'even', 'odd']).default('none'),
  stopBits: z.union([z.literal(1), z.literal(2)], { error: '1 or 2' }).default(1),
};

/** Keys of a `serial` interface. */
export const serialShape = serialLine;

/** Keys of a `kiss` interface. */
export const kissShape = {
  ...serialLine,
  bitrate: z.int().min(50).max(1_000_000).default(1200).describe('bit/s on the air'),
  preamble: z.int().min(0).max(2550).default(350).describe('ms of carrier before a packet'),
  txTail: z.int().min(0).max(2550).default(20).describe('ms of carrier after it'),
  persistence: z.int().min(0).max(255).default(64).describe('chance to send in a free slot, of 255'),
  slotTime: z.int().min(0).max(2550).default(20).describe('ms of a slot'),
  flowControl: z.boolean().default(false).describe('the TNC says when it has room for the next packet'),
  beacon: z
    .strictObject({
      callsign: z
        .string()
        .regex(/^[\x20-\x7e]{1,64}$/, 'printable ASCII')
        .describe('what is sent'),
      every: z.int().min(10).max(86_400).describe('s after something was sent'),
    })
    .optional()
    .describe('says who is sending, where the law asks for it'),
};

/** Keys of a `pipe` interface. */
export const pipeShape = {
  command: z
    .array(z.string().max(4096))
    .min(1)
    .max(64)
    .refine(([program]) => program !== '', 'a program and its arguments')
    .describe('a program and its arguments; no shell'),
  bitrate: z.int().min(5).max(1_000_000_000).default(1_000_000).describe('bit/s, estimated'),
};

export type SerialOptions = z.infer<z.ZodObject<typeof serialShape>>;
export type KissOptions = z.infer<z.ZodObject<typeof kissShape>>;
export type PipeOptions = z.infer<z.ZodObject<typeof pipeShape>>;
