import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { z } from 'zod';
import { type Route, route } from './route.ts';

export interface BackupOptions {
  readonly passphrase?: string | undefined;
  /** `age1…` */
  readonly recipients?: readonly string[] | undefined;
  /** Attachments too; default true. */
  readonly blobs?: boolean | undefined;
}

/** Backups of the hub. */
export interface Backups {
  /**
   * The state of now as one encrypted file; nothing is read on while nobody reads. Throws `request/conflict` while another
   * is made, `store/full` where there is no room for the copies, `store/unavailable` where a database is damaged.
   */
  open(
    options: BackupOptions,
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly estimated: number; readonly bytes: Readable }>;
}

/** ms until the first byte: databases are copied before it. */
const slowestStart = 10 * 60_000;

const backupSchema = z
  .strictObject({
    passphrase: z
      .string()
      .min(12, 'at least 12 characters: whoever has the file can guess for as long as they like')
      .max(1024)
      .exactOptional(),
    recipients: z
      .array(z.string().regex(/^age1[02-9ac-hj-np-z]{20,90}$/, 'a public key of age, age1…'))
      .min(1)
      .max(16)
      .exactOptional(),
    blobs: z.boolean().exactOptional().describe('attachments too; default true'),
  })
  .refine(
    ({ passphrase, recipients }) => (passphrase === undefined) !== (recipients === undefined),
    'either a passphrase or recipients',
  )
  .meta({ id: 'BackupOrder', oneOf: [{ required: ['passphrase'] }, { required: ['recipients'] }] });

/** For the owner. */
export function backupRoutes(backups: () => Backups): Route[] {
  return [
    route({
      method: 'POST',
      path: '/v1/backup',
      summary: 'Everything the hub keeps, as one file encrypted for age',
      tag: 'admin',
      audience: ['admin'],
      body: backupSchema,
      timeout: slowestStart,
      responses: {
        200: {
          description: 'the file, as it is made; one that ends early cannot be opened',
          mediaType: 'application/octet-stream',
          headers: { 'Kos-Estimated-Size': 'bytes it will have, about' },
        },
        409: { description: 'another one is being made' },
        507: { description: 'no room for the copies of the databases' },
      },
      async handle({ body, signal }) {
        const { name, estimated, bytes } = await backups().open(body, signal);
        return {
          status: 200,
          async take(response) {
            response.writeHead(200, {
              'content-type': 'application/octet-stream',
              'content-disposition': `attachment; filename="${name}"`,
              'cache-control': 'no-store',
              'kos-estimated-size': String(estimated),
            });
            await pipeline(bytes, response);
          },
        };
      },
    }),
  ];
}
